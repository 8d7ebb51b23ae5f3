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
	os.Exit(cli.Main(untilAsked(), os.Args[1:], cli.Process{
		Environment: config.Environ(), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
	}))
}

// untilAsked ends with the first signal, which asks; a second one kills as usual,
// from before anything shows that the first was heard.
func untilAsked() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		signal.Stop(asked)
		cancel()
	}()
	return ctx
}
