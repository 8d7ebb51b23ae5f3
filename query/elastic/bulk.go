package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// bulk appends documents to any number of topics. Each item succeeds or fails by
// itself, and the answer has them in the order in which they came.
func (c *call) bulk() error {
	if err := c.writeParams(); err != nil {
		return err
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
	items, err := splitBulk(body, c.Param("index"), key)
	if err != nil {
		return err
	}
	began := time.Now()
	c.surface.write(c.Request.Context(), within, items)
	return c.answer(http.StatusOK, func(w *writer) {
		w.object(func() {
			failed := false
			for _, item := range items {
				failed = failed || item.err != nil
			}
			w.member("errors", failed)
			w.member("took", time.Since(began).Milliseconds())
			w.name("items")
			w.array(func() {
				for _, item := range items {
					w.object(func() {
						w.name(item.op)
						w.object(func() { item.write(w) })
					})
				}
			})
		})
	})
}

// bulkItem is one operation of a bulk request, and what became of it.
type bulkItem struct {
	op      string
	index   string
	given   string // the _id that the client gave
	key     string
	source  []byte
	err     *Error // nil: written
	outcome Outcome
}

func (i *bulkItem) id() string { return idOf(i.index, i.outcome.Partition, i.outcome.Offset) }

// check finds what is wrong with an item by itself.
func (i *bulkItem) check() *Error {
	switch {
	case i.op == "update" || i.op == "delete":
		return &Error{Status: http.StatusMethodNotAllowed, Type: "illegal_argument_exception", Index: i.index,
			Reason: "[" + i.op + "] is not supported: records of a log are neither changed nor deleted one by one"}
	case i.given != "":
		return &Error{Status: http.StatusBadRequest, Type: "illegal_argument_exception", Index: i.index, Reason: noIDs}
	case i.index == "":
		return &Error{Status: http.StatusBadRequest, Type: "action_request_validation_exception", Reason: "Validation Failed: 1: index is missing;"}
	case !isObject(i.source):
		return &Error{Status: http.StatusBadRequest, Type: "document_parsing_exception", Index: i.index, Reason: "failed to parse: a document has to be one JSON object"}
	}
	return nil
}

func (i *bulkItem) write(w *writer) {
	if i.err == nil {
		i.writeResult(w)
		w.member("status", http.StatusCreated)
		return
	}
	w.member("_index", i.index)
	if i.given != "" {
		w.member("_id", i.given)
	} else {
		w.member("_id", nil)
	}
	w.member("status", i.err.Status)
	w.name("error")
	w.object(func() { i.err.plain(w) })
}

func (i *bulkItem) writeResult(w *writer) {
	w.member("_index", i.index)
	w.member("_id", i.id())
	w.member("_version", 1)
	w.member("result", "created")
	w.name("_shards")
	w.object(func() {
		w.member("total", 1)
		w.member("successful", 1)
		w.member("failed", 0)
	})
	w.member("_seq_no", i.outcome.Offset)
	w.member("_primary_term", 1)
}

// bulkAction is what the line before a document says.
type bulkAction struct {
	Index        string `json:"_index"`
	ID           string `json:"_id"`
	Routing      string `json:"routing"`
	RequireAlias bool   `json:"require_alias"`
}

// splitBulk reads the lines of a bulk request. What is no request at all fails as
// a whole; what is wrong with an item is found by check.
func splitBulk(body []byte, index, key string) ([]*bulkItem, error) {
	if len(body) == 0 {
		return nil, &Error{Status: http.StatusBadRequest, Type: "parse_exception", Reason: "request body is required"}
	}
	if body[len(body)-1] != '\n' {
		return nil, badRequest("The bulk request must be terminated by a newline [\\n]")
	}
	var items []*bulkItem
	number := 0
	line := func() (text []byte, ok bool) {
		if len(body) == 0 {
			return nil, false
		}
		number++
		at := bytes.IndexByte(body, '\n')
		text, body = body[:at], body[at+1:]
		return bytes.TrimSpace(text), true
	}
	for {
		text, more := line()
		if !more {
			break
		}
		if len(text) == 0 {
			continue
		}
		item, err := readAction(text, number)
		if err != nil {
			return nil, err
		}
		if item.index == "" {
			item.index = index
		}
		if item.key == "" {
			item.key = key
		}
		if item.op != "delete" {
			if item.source, more = line(); !more {
				return nil, badRequest("line [%d]: an operation without a document behind it", number)
			}
		}
		if items = append(items, item); len(items) > bulkItemsMax {
			return nil, &Error{Status: http.StatusRequestEntityTooLarge, Type: "illegal_argument_exception",
				Reason: fmt.Sprintf("more than %d operations in one request", bulkItemsMax)}
		}
	}
	if len(items) == 0 {
		return nil, &Error{Status: http.StatusBadRequest, Type: "action_request_validation_exception", Reason: "Validation Failed: 1: no requests added;"}
	}
	return items, nil
}

func readAction(text []byte, number int) (*bulkItem, error) {
	malformed := func(why string) error {
		return badRequest("Malformed action/metadata line [%d]: %s", number, why)
	}
	var action map[string]json.RawMessage
	if err := json.Unmarshal(text, &action); err != nil || len(action) != 1 {
		return nil, malformed("expected one of [create, delete, index, update] in a JSON object")
	}
	for op, parameters := range action {
		switch op {
		case "index", "create", "update", "delete":
		default:
			return nil, malformed(fmt.Sprintf("expected one of [create, delete, index, update] but found [%s]", op))
		}
		var a bulkAction
		decoder := json.NewDecoder(bytes.NewReader(parameters))
		decoder.DisallowUnknownFields()
		err := decoder.Decode(&a)
		switch {
		case err != nil && (op == "index" || op == "create"):
			return nil, malformed(strings.TrimPrefix(err.Error(), "json: "))
		case a.RequireAlias:
			return nil, malformed("[require_alias] is not supported: there are no aliases")
		}
		return &bulkItem{op: op, index: a.Index, given: a.ID, key: a.Routing}, nil
	}
	return nil, malformed("no action")
}

// writeWithin is how long a write may take that says nothing of it.
const writeWithin = time.Minute

// write produces what can be, and notes in each item what became of it.
func (s *Surface) write(ctx context.Context, within time.Duration, items []*bulkItem) {
	if within <= 0 {
		within = writeWithin
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	records, written := s.records(ctx, items)
	if len(records) > 0 {
		for i, outcome := range s.o.Backend.Produce(ctx, records) {
			written[i].outcome = outcome
			if outcome.Err != nil {
				written[i].err = s.writeError(ctx, outcome.Err, written[i].index)
			}
		}
	}
	for _, item := range items {
		if item.err == nil {
			s.written.Add(1)
		} else {
			s.unwritten.Add(1)
		}
	}
}

// records are those of the items that can be written, and these.
func (s *Surface) records(ctx context.Context, items []*bulkItem) (records []Record, written []*bulkItem) {
	known := map[string]*Error{} // why topics cannot be written; nil: they can
	for _, item := range items {
		if item.err = item.check(); item.err != nil {
			continue
		}
		refused, seen := known[item.index]
		if !seen {
			if err := s.writable(ctx, item.index); err != nil {
				refused = s.errorOf(ctx, err)
			}
			known[item.index] = refused
		}
		if item.err = refused; item.err != nil {
			continue
		}
		r := Record{Topic: item.index, Value: item.source}
		if item.key != "" {
			r.Key = []byte(item.key)
		}
		records, written = append(records, r), append(written, item)
	}
	return records, written
}

// writeError is errorOf for a record. Where it is not known whether the record was
// written, it says so.
func (s *Surface) writeError(ctx context.Context, err error, index string) *Error {
	for _, row := range writeErrors {
		if errors.Is(err, row.is) {
			e := s.errorOf(ctx, err)
			e.Index = index
			return e
		}
	}
	return &Error{Status: http.StatusGatewayTimeout, Type: "timeout_exception", Index: index,
		Reason: "it is not known whether the document was written: " + err.Error()}
}

// writable makes sure that there is a topic.
func (s *Surface) writable(ctx context.Context, name string) error {
	if _, ok := s.o.Backend.Topic(name); ok {
		return nil
	}
	if err := s.o.Backend.CatchUp(ctx); err != nil {
		return err
	}
	if _, ok := s.o.Backend.Topic(name); ok {
		return nil
	}
	if !s.o.AutoCreate {
		return notFound(name)
	}
	if !creatable(name) {
		return invalidName(name)
	}
	err := s.o.Backend.CreateTopic(ctx, name, 0, map[string]string{"searchable": "true"})
	if errors.Is(err, ErrTopicExists) {
		return nil
	}
	return err
}
