package elastic

import (
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// media is the form of an answer.
type media struct {
	compatible int  // version that the client asked to be compatible with; 0: none
	text       bool // plain text is what the client wants most
}

func (m media) contentType() string {
	if m.compatible != 0 {
		return "application/vnd.elasticsearch+json;compatible-with=" + strconv.Itoa(m.compatible)
	}
	return "application/json"
}

// Versions that clients may be of.
const (
	compatibleLeast = 8
	compatibleMost  = 9
)

// vendor begins the media types of Elasticsearch's own clients.
const vendor = "application/vnd.elasticsearch+"

// negotiate reads what a client accepts and what it sends. What it sends is taken
// for JSON whatever it is called; but it must not be that of a version whose
// requests were other ones.
func negotiate(accept []string, contentType string) (media, error) {
	if contentType != "" {
		if kind, parameters, err := mime.ParseMediaType(contentType); err == nil && strings.HasPrefix(kind, vendor) {
			if _, err := compatible(contentType, parameters); err != nil {
				return media{}, err
			}
		}
	}
	ranges := strings.Split(strings.Join(accept, ","), ",")
	if len(accept) == 0 || strings.TrimSpace(strings.Join(ranges, "")) == "" {
		return media{}, nil
	}
	for i, r := range ranges {
		kind, parameters, err := mime.ParseMediaType(r)
		if err != nil {
			continue
		}
		switch kind {
		case vendor + "json", vendor + "x-ndjson":
			version, err := compatible(r, parameters)
			return media{compatible: version}, err
		case "application/json", "application/x-ndjson", "application/*", "*/*":
			return media{}, nil
		case "text/plain", "text/*":
			return media{text: i == 0}, nil
		case "text/html": // a browser
			return media{}, nil
		}
	}
	return media{}, &Error{Status: http.StatusNotAcceptable, Type: "media_type_header_exception",
		Reason: fmt.Sprintf("Invalid media-type value on headers [Accept]: [%s]; answers are application/json", strings.Join(accept, ","))}
}

func compatible(header string, parameters map[string]string) (int, error) {
	text, given := parameters["compatible-with"]
	if !given {
		return 0, nil
	}
	version, err := strconv.Atoi(text)
	if err != nil || version < compatibleLeast || version > compatibleMost {
		return 0, &Error{Status: http.StatusBadRequest, Type: "media_type_header_exception",
			Reason: fmt.Sprintf("A compatible version is required on Accept and Content-Type headers: [%s] is none of %d and %d", strings.TrimSpace(header), compatibleLeast, compatibleMost)}
	}
	return version, nil
}
