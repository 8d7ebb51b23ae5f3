package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/cmd/chronik/config"
	"github.com/chronik-stream/chronik/cmd/chronik/node"
)

func newDev(e env) *cobra.Command {
	var s settings
	c := &cobra.Command{
		Use:   "dev",
		Short: "Run everything in one process: broker, compactor, query node, metadata, bucket",
		Long: `Run everything in one process: broker, compactor and query node, with an embedded
etcd for the metadata and a folder as the bucket. Prints one line when everything
answers, and stops cleanly on ^C or SIGTERM. Data stays in the folder.`,
		Example: `  chronik dev
  chronik dev --data /tmp/chronik --kafka localhost:0 --http localhost:0   # free ports
  chronik dev --kafka 0.0.0.0:9092 --set kafka.advertised=myhost           # for other machines
  chronik dev --set compactor.first_age=5s --set log.level=debug

  # against a bucket
  docker compose -f deployments/local/compose.yaml up -d
  OBJECT_STORE_BACKEND=s3 S3_ENDPOINT=http://127.0.0.1:9000 S3_BUCKET=chronik chronik dev`,
		Args: exactly(),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := s.load(c, e)
			if err != nil {
				return err
			}
			return runNode(c.Context(), cfg, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	s.add(c, devFlags()...)
	return c
}

// startWithin bounds the start of chronik dev; a healthy one takes a second, but
// a long write-ahead log is read first. A node of a cluster waits for the others
// for as long as it takes, and says so.
const startWithin = 5 * time.Minute

// runNode runs the configuration's roles until ctx ends or one of them fails.
func runNode(ctx context.Context, cfg *config.Config, out, logs io.Writer) error {
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return fmt.Errorf("find the data folder: %w", err)
	}
	shown := cfg.DataDir
	cfg.DataDir = dir
	log, level := newLogger(cfg, logs)
	for _, warning := range cfg.Warnings {
		log.Warn(warning)
	}
	node.LimitMemory(cfg, os.DirFS("/"), log)
	starting, cancel := context.WithCancel(ctx)
	if !cfg.Clustered() {
		starting, cancel = context.WithTimeout(ctx, startWithin)
	}
	defer cancel()
	n, err := node.Start(starting, cfg, log, level, cfg.Roles()...)
	if ctx.Err() != nil {
		log.Info("asked to stop while starting")
		return stop(n, nil)
	}
	if err != nil {
		return err
	}
	if err := untilReady(starting, ctx, n); err != nil || ctx.Err() != nil {
		return stop(n, err)
	}
	if _, err := fmt.Fprintln(out, readyLine(n, cfg, shown)); err != nil {
		return stop(n, fmt.Errorf("say that it is ready: %w", err))
	}
	select {
	case <-ctx.Done():
		n.Drain(context.WithoutCancel(ctx))
		log.Info("stopping")
		return stop(n, nil)
	case err := <-n.Failed():
		return stop(n, err)
	}
}

// readyLine says that everything answers, and where.
func readyLine(n *node.Node, cfg *config.Config, data string) string {
	line := "ready"
	if cfg.Clustered() {
		line += " roles=" + strings.Join(cfg.Roles(), ",")
	}
	if n.Kafka != "" {
		line += " kafka=" + n.Kafka
	}
	return line + " http=" + n.HTTP + " data=" + data
}

func stop(n *node.Node, reason error) error {
	if n == nil {
		return reason
	}
	return errors.Join(reason, n.Stop())
}

// untilReady returns nil when all roles answer or when asked to stop.
func untilReady(starting, asked context.Context, n *node.Node) error {
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := n.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case failed := <-n.Failed():
			return failed
		case <-asked.Done():
			return nil
		case <-starting.Done():
			return fmt.Errorf("not ready after %s: %w", startWithin, err)
		}
	}
}

func newLogger(cfg *config.Config, to io.Writer) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[cfg.Log.Level])
	options := &slog.HandlerOptions{Level: level}
	if cfg.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, options)), level
	}
	return slog.New(slog.NewTextHandler(to, options)), level
}
