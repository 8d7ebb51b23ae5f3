package api

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/chronik-stream/chronik/internal/topicconfig"
	"github.com/chronik-stream/chronik/metastore"
)

// A broker has one logger, which Kafka's tools call by this name. Its level
// changes at once and until the process ends; it is kept nowhere.
const rootLogger = "root"

// sourceLogger is Kafka's number for what is set on a logger.
const sourceLogger topicconfig.Source = 6

// logLevels are the levels by Kafka's names for them.
func logLevels() map[string]slog.Level {
	return map[string]slog.Level{"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "ERROR": slog.LevelError}
}

// checkLogger refuses the loggers of other brokers.
func (h *Handler) checkLogger(broker string) error {
	if h.cfg.Shared && broker == metastore.SharedNode.String() {
		return fmt.Errorf("%w: node %s is all brokers at one address: each has a logger of its own, which is altered at its own address", errRequest, broker)
	}
	if broker != h.Cluster.Self().String() {
		return fmt.Errorf("%w: this is broker %v, which has not the loggers of %q", errRequest, h.Cluster.Self(), broker)
	}
	return nil
}

func (h *Handler) loggerEntries(broker string) ([]configEntry, error) {
	if err := h.checkLogger(broker); err != nil {
		return nil, err
	}
	level := h.LogLevel.Level().String()
	return []configEntry{{Entry: topicconfig.Entry{
		Name: rootLogger, Value: level, Type: topicconfig.String, Source: sourceLogger,
		Documentation: "Least severity that this process logs, until it ends: DEBUG, INFO, WARN or ERROR. It starts with log.level of the configuration.",
		Synonyms:      []topicconfig.Synonym{{Name: rootLogger, Value: level, Source: sourceLogger}},
	}}}, nil
}

// alterLogger sets the level.
func (h *Handler) alterLogger(broker string, validateOnly bool, change configChange) error {
	if err := h.checkLogger(broker); err != nil {
		return err
	}
	now := map[string]string{rootLogger: h.LogLevel.Level().String()}
	altered, err := change(loggerKeys{}, now)
	if err != nil || validateOnly {
		return err
	}
	h.LogLevel.Set(logLevels()[altered[rootLogger]])
	h.log.Info("log level altered", "level", altered[rootLogger])
	return nil
}

// loggerKeys are the loggers, of which there is one.
type loggerKeys struct{}

func (loggerKeys) lookup(name string, _ bool) (canonical string, list bool, err error) {
	if name != rootLogger {
		return "", false, fmt.Errorf("%w: there is no logger %q, only %q", errConfig, name, rootLogger)
	}
	return name, false, nil
}

func (loggerKeys) inForce(set map[string]string, name string) string { return set[name] }

func (loggerKeys) validate(set map[string]string) (map[string]string, error) {
	level, ok := set[rootLogger]
	if !ok {
		return nil, fmt.Errorf("%w: %q always has a level", errRequest, rootLogger)
	}
	level = strings.ToUpper(level)
	if _, ok := logLevels()[level]; !ok {
		return nil, fmt.Errorf("%w: %q is not one of DEBUG, INFO, WARN, ERROR", errConfig, level)
	}
	return map[string]string{rootLogger: level}, nil
}
