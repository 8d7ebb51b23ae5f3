package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// sqlMedia are the forms of the output that the server writes.
var sqlMedia = map[string]string{"json": "application/json", "ndjson": "application/x-ndjson", "csv": "text/csv"}

// stream writes an answer as it comes. An error can come behind the first rows.
func (o *sqlOptions) stream(ctx context.Context, out, notes io.Writer) error {
	response, err := o.ask(ctx, sqlMedia[o.output])
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch o.output {
	case "json":
		return copyJSON(out, response.Body)
	case "ndjson":
		err = copyRows(out, response.Body)
	default:
		if err = copyAll(&unixLines{out: out}, response.Body); err != nil {
			err = fmt.Errorf("%w (-o ndjson tells the server's reason)", err)
		}
	}
	if err != nil {
		return err
	}
	var coverage sqlCoverage
	if text := response.Header.Get("X-Chronik-Coverage"); text != "" {
		if err := json.Unmarshal([]byte(text), &coverage); err != nil {
			return fmt.Errorf("read the coverage of the answer: %w", err)
		}
	}
	writeNotes(notes, response.Trailer.Get("X-Chronik-Truncated") == "true", int64(o.limit), coverage)
	return nil
}

func copyAll(out io.Writer, answer io.Reader) error {
	if _, err := io.Copy(out, answer); err != nil {
		return fmt.Errorf("the answer is not whole: %w", err)
	}
	return nil
}

// copyJSON ends the line that the server does not end.
func copyJSON(out io.Writer, answer io.Reader) error {
	if err := copyAll(out, answer); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

// copyRows copies rows of NDJSON. An answer that breaks off ends with a line that
// says why, which is no row.
func copyRows(out io.Writer, answer io.Reader) error {
	in, to := bufio.NewReaderSize(answer, 64<<10), bufio.NewWriterSize(out, 64<<10)
	var suspect []byte // a line that may be the last of an answer that breaks off
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			if err := to.Flush(); err != nil {
				return err
			}
			if suspect != nil {
				return refusal("the answer is not whole", suspect)
			}
			return fmt.Errorf("the answer is not whole: %w", err)
		}
		to.Write(suspect)
		suspect = nil
		if err == nil && bytes.HasPrefix(line, []byte(`{"error":`)) {
			suspect = line
			continue
		}
		to.Write(line)
		if err == io.EOF || in.Buffered() == 0 { // else more is at hand
			if err := to.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
	}
}

// unixLines turns the ends of lines of CSV, CRLF, into those of text files. What
// is in quotes stays as it is.
type unixLines struct {
	out    io.Writer
	quoted bool
	buffer []byte
}

func (u *unixLines) Write(text []byte) (int, error) {
	u.buffer = u.buffer[:0]
	for _, b := range text {
		if b == '"' {
			u.quoted = !u.quoted // twice for a quote within
		}
		if b != '\r' || u.quoted {
			u.buffer = append(u.buffer, b)
		}
	}
	if _, err := u.out.Write(u.buffer); err != nil {
		return 0, err
	}
	return len(text), nil
}
