// Ends Azurite when the process that started it is gone, however that ended: its end of this pipe closes.
process.stdin.on("end", () => process.kill(process.pid, "SIGTERM"));
process.stdin.resume();
process.stdin.unref();
