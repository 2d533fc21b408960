-- wrk: an upload of 10 MiB with every request.
wrk.method = "POST"
wrk.body = string.rep("0123456789abcdef", 640 * 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
