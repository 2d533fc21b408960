// A server on Go's net/http that says hello, on one core. `bench-hello-go LISTEN`.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: bench-hello-go LISTEN")
		os.Exit(2)
	}
	runtime.GOMAXPROCS(1)
	hello := func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/plain")
		io.WriteString(response, "Hello, world!")
	}
	fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[1], http.HandlerFunc(hello)))
	os.Exit(1)
}
