package local

import (
	"path/filepath"
	"runtime"
)

// findRuntime gives the files that look like ONNX Runtime's library, in the places
// where systems keep libraries.
func findRuntime() []string {
	places := []string{"/usr/local/lib", "/usr/lib64", "/usr/lib", "/opt/onnxruntime/lib"}
	names := []string{"libonnxruntime.so", "libonnxruntime.so.*"}
	switch runtime.GOOS {
	case "darwin":
		places = []string{"/opt/homebrew/lib", "/usr/local/lib"}
		names = []string{"libonnxruntime.dylib", "libonnxruntime.*.dylib"}
	case "linux":
		triple := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
		places = append(places, filepath.Join("/usr/lib", triple))
	}
	var files []string
	for _, place := range places {
		for _, name := range names {
			found, err := filepath.Glob(filepath.Join(place, name))
			if err != nil {
				continue // of a pattern that is not one: these are
			}
			files = append(files, found...)
		}
	}
	return files
}
