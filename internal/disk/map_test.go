package disk_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chronik-stream/chronik/internal/disk"
)

func TestAMappedFileIsReadAfterItIsRemoved(t *testing.T) {
	for _, content := range []string{"what lies on the disk", ""} {
		name := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		m, err := disk.Map(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		if got := string(m.Bytes()); got != content {
			t.Errorf("read %q, want %q", got, content)
		}
		for range 2 {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		if m.Bytes() != nil {
			t.Error("there are bytes after Close")
		}
	}
	if _, err := disk.Map(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing file: %v", err)
	}
}
