package elastic

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/chronik-stream/chronik/internal/textquery"
	"github.com/chronik-stream/chronik/internal/textsearch"
)

// get answers one document by its id.
func (c *call) get() error {
	index, hit, source, err := c.document()
	if err != nil {
		return err
	}
	status := http.StatusOK
	if hit == nil {
		status = http.StatusNotFound
	}
	return c.answer(status, func(w *writer) {
		w.object(func() {
			w.member("_index", index)
			w.member("_id", c.Param("id"))
			if hit != nil {
				writeVersion(w, hit.Offset)
			}
			w.member("found", hit != nil)
			if hit != nil && hit.Found && !source.Off {
				w.name("_source")
				writeSource(w, hit, source)
			}
		})
	})
}

// getSource answers the source of one document alone.
func (c *call) getSource() error {
	index, hit, source, err := c.document()
	if err != nil {
		return err
	}
	if hit == nil {
		return &Error{Status: http.StatusNotFound, Type: "resource_not_found_exception",
			Reason: "Document not found [" + index + "]/[" + c.Param("id") + "]"}
	}
	return c.answer(http.StatusOK, func(w *writer) { writeSource(w, hit, source) })
}

// document finds the document of a path, and its index; nil: there is none.
func (c *call) document() (index string, hit *textsearch.Hit, source *textquery.Source, err error) {
	c.harmless("preference", "routing", "realtime", "refresh")
	if err := c.never("stored_fields", "version", "version_type", "force_synthetic_source", "_source_exclude_vectors"); err != nil {
		return "", nil, nil, err
	}
	options := c.options()
	own := map[string][]string{}
	for _, name := range []string{"_source", "_source_includes", "_source_excludes", "freshness"} {
		if v, given := c.take(name); given {
			own[name] = []string{v}
		}
	}
	a := &asked{request: textquery.NewRequest(), options: options}
	if err := textquery.ParseURI(own, a.request); err != nil {
		return "", nil, nil, err
	}
	if err := a.complete(); err != nil {
		return "", nil, nil, err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return "", nil, nil, err
	}
	found, err := c.topics(c.Param("index"), expansion{literal: true})
	if err != nil {
		return "", nil, nil, err
	}
	if len(found) != 1 { // a comma behind one reserved name is fine
		return "", nil, nil, badRequest("a document is of one index, [%s] are %d", c.Param("index"), len(found))
	}
	index, source = found[0].Name, &a.request.Source
	partition, offset, ok := documentID(index, c.Param("id"))
	if !ok || int(partition) >= found[0].Partitions {
		return index, nil, source, nil
	}
	if err := c.near(found); err != nil {
		return "", nil, nil, err
	}
	hit, err = c.surface.o.Backend.Doc(c.Request.Context(), index, partition, offset, a.options)
	return index, hit, source, err
}

// writeVersion: a record is written once, at its offset.
func writeVersion(w *writer, offset int64) {
	w.member("_version", 1)
	w.member("_seq_no", offset)
	w.member("_primary_term", 1)
}

// noIDs is why a document cannot be given an id.
const noIDs = "a document's [_id] is its place in the log, topic-partition-offset, and cannot be chosen; a [routing] becomes the record's key"

// index appends one document.
func (c *call) index() error {
	if err := c.writeParams(); err != nil {
		return err
	}
	switch op := c.text("op_type", "index"); op {
	case "index", "create":
	default:
		return badRequest("opType must be 'create' or 'index', found: [%s]", op)
	}
	within, err := c.duration("timeout")
	if err != nil {
		return err
	}
	key := c.text("routing", "")
	release, err := c.takeRoom()
	if err != nil {
		return err
	}
	defer release()
	body, err := c.body()
	if err != nil {
		return err
	}
	if err := c.rest(c.Request.URL.Path); err != nil {
		return err
	}
	item := bulkItem{op: "index", index: c.Param("index"), key: key, source: bytes.TrimSpace(body)}
	if err := item.check(); err != nil {
		return err
	}
	c.surface.write(c.Request.Context(), within, []*bulkItem{&item})
	if item.err != nil {
		return item.err
	}
	c.Header("Location", "/"+item.index+"/_doc/"+item.id())
	return c.answer(http.StatusCreated, func(w *writer) { w.object(func() { item.writeResult(w) }) })
}

// writeParams takes the parameters of writes. What is written is found by the next
// search, and is where it has to be when it is acknowledged.
func (c *call) writeParams() error {
	c.harmless("refresh", "wait_for_active_shards", "list_executed_pipelines", "include_source_on_error")
	return c.never("pipeline", "require_alias", "require_data_stream", "version", "version_type", "if_seq_no", "if_primary_term", "type",
		"_source", "_source_includes", "_source_excludes")
}

// takeRoom waits for nobody: memory for the body is there, or the client tries
// again.
func (c *call) takeRoom() (release func(), err error) {
	size := c.Request.ContentLength
	if size < 0 || size > bodyBytesMax || c.GetHeader("Content-Encoding") != "" {
		size = bodyBytesMax
	}
	// The body, its lines, and what the client of the brokers holds of it.
	size = min(2*size, c.surface.o.WriteBytesMax)
	if !c.surface.writes.TryAcquire(size) {
		return nil, &Error{Status: http.StatusTooManyRequests, Type: "es_rejected_execution_exception",
			Reason: "too many bytes of writes are under way"}
	}
	return func() { c.surface.writes.Release(size) }, nil
}

// isObject reports whether a text is one JSON object.
func isObject(text []byte) bool {
	return len(text) > 0 && text[0] == '{' && json.Valid(text)
}

// refuseID answers writes that name a document.
func (c *call) refuseID() error {
	return notAllowed("%s; POST /%s/_doc appends a document", noIDs, c.Param("index"))
}

// refuseChange answers writes that change what is in the log.
func (c *call) refuseChange() error {
	what := strings.Trim(strings.TrimPrefix(c.FullPath(), "/:index"), "/")
	return notAllowed("%s [%s] is not supported: records of a log are neither changed nor deleted one by one; retention and compaction by key are settings of the topic",
		c.Request.Method, what)
}
