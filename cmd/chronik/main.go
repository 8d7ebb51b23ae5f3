// Command chronik is a Kafka-compatible log on object storage whose topics can
// be SQL tables: the servers, and the tools to use and look into them.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/chronik-stream/chronik/cmd/chronik/cli"
	"github.com/chronik-stream/chronik/cmd/chronik/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks; once it was heard, a second one kills as usual.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Main(ctx, os.Args[1:], cli.Process{
		Environment: config.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	}))
}
