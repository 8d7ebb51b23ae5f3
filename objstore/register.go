package objstore

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// Register registers a collector, or returns the equal one that is registered
// already: the roles of one process each have a bucket, and share its metrics.
// A nil Registerer registers nothing.
func Register[C prometheus.Collector](r prometheus.Registerer, c C) (C, error) {
	if r == nil {
		return c, nil
	}
	err := r.Register(c)
	var registered prometheus.AlreadyRegisteredError
	if errors.As(err, &registered) {
		if existing, ok := registered.ExistingCollector.(C); ok {
			return existing, nil
		}
	}
	return c, err
}
