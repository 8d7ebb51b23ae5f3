package memory_test

import (
	"testing"

	"github.com/chronik-stream/chronik/objstore"
	"github.com/chronik-stream/chronik/objstore/memory"
	"github.com/chronik-stream/chronik/objstore/objtest"
)

func TestMemoryKeepsTheContract(t *testing.T) {
	objtest.Run(t, func(*testing.T) objstore.Bucket { return memory.New() })
}
