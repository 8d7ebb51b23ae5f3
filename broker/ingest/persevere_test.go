package ingest

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
)

func TestAnOutageThatLastsIsToldEverLessOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told bytes.Buffer
		l := &Log{log: slog.New(slog.NewTextHandler(&told, nil))}
		failed, left := 0, 700 // an hour, nearly
		err := l.persevere(t.Context(), "put", func() { failed++ }, func() error {
			if left--; left < 0 {
				return nil
			}
			return errors.New("away")
		})
		if err != nil || failed != 700 {
			t.Errorf("%d failures: %v", failed, err)
		}
		if lines := strings.Count(told.String(), "\n"); lines != 10 || !strings.Contains(told.String(), "tries=1 ") || !strings.Contains(told.String(), "tries=512 for=") {
			t.Errorf("%d lines:\n%s", lines, told.String())
		}
	})
}
