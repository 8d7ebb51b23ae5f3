package format_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/chronik-stream/chronik/internal/format"
)

func TestDamageIsNamedOnceWithItsByte(t *testing.T) {
	err := format.Corrupt(7, "a flipped bit")
	if got, want := err.Error(), "data: corrupt at byte 7: a flipped bit"; got != want {
		t.Errorf("without a name: %q, want %q", got, want)
	}
	err = fmt.Errorf("read it: %w", format.At("object", 100, err))
	err = format.At("folder", 1000, format.In("bucket", err))
	if got, want := err.Error(), "read it: object: corrupt at byte 107: a flipped bit"; got != want {
		t.Errorf("named: %q, want %q", got, want)
	}
	if !errors.Is(err, format.ErrCorrupt) || errors.Is(err, format.ErrVersion) {
		t.Errorf("%v is not corrupt, or too new", err)
	}
}

func TestOtherErrorsAreLeftAlone(t *testing.T) {
	if other := errors.New("away"); format.In("object", other) != other || format.In("object", nil) != nil {
		t.Error("an error that is no damage was changed")
	}
}
