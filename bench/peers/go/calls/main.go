// A client on Go's net/http, on one core. `bench-calls-go ORIGIN AT_ONCE SECONDS` asks for `/1k`; prints requests and
// nanoseconds of CPU.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// CPU time of this process, in nanoseconds.
func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func fail(why any) {
	fmt.Fprintln(os.Stderr, why)
	os.Exit(1)
}

// Calls, one after another, until then; how many.
func call(client *http.Client, url string, until time.Time) (made int64) {
	for time.Now().Before(until) {
		response, err := client.Get(url)
		if err != nil {
			fail(err)
		}
		length, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			fail(err)
		}
		response.Body.Close()
		if length != 1024 {
			fail("a response that is not 1 KiB")
		}
		made++
	}
	return made
}

func main() {
	if len(os.Args) != 4 {
		fail("usage: ORIGIN AT_ONCE SECONDS")
	}
	atOnce, err := strconv.Atoi(os.Args[2])
	if err != nil {
		fail(err)
	}
	seconds, err := strconv.Atoi(os.Args[3])
	if err != nil {
		fail(err)
	}
	runtime.GOMAXPROCS(1)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atOnce}}
	url := "http://" + os.Args[1] + "/1k"
	// The first is to warm up.
	for round, length := range []time.Duration{500 * time.Millisecond, time.Duration(seconds) * time.Second} {
		before, until := cpu(), time.Now().Add(length)
		made := make([]int64, atOnce)
		var calls sync.WaitGroup
		for one := range made {
			calls.Add(1)
			go func(one int) {
				defer calls.Done()
				made[one] = call(client, url, until)
			}(one)
		}
		calls.Wait()
		if round > 0 {
			var sum int64
			for _, one := range made {
				sum += one
			}
			fmt.Println(sum, cpu()-before)
		}
	}
}
