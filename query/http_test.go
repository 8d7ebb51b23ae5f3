package query

import "testing"

func TestSurfacesOfLaterAreToldFromPathsOfNobody(t *testing.T) {
	for path, known := range map[string]bool{
		"/_vector/t/search": true, "/_search": true, "/orders/_search": true, "/orders/_doc/1": true, "/subjects": true,
		"/admin/status": true, "/iceberg/v1/config": false, "/": false, "/orders": false, "/_nothing": false, "/orders/search": false,
	} {
		if got := laterSurface(path); (got != "") != known {
			t.Errorf("%s: %q", path, got)
		}
	}
}
