package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
)

// types asks for a value of each type, and for none of each.
func (c *client) types(ctx context.Context) (string, error) {
	expressions, wanted, err := table()
	if err != nil {
		return "", err
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(expressions)), ", ")
	query := fmt.Sprintf("SELECT * FROM (SELECT %s) UNION ALL SELECT %s", strings.Join(expressions, ", "), nulls)
	row := 0
	err = errors.Join(c.ask(ctx, query, nil, nil, func(b arrow.RecordBatch) {
		for i := range int(b.NumRows()) {
			for j, column := range b.Columns() {
				got, want := fmt.Sprintf("%v=%s", column.DataType(), column.ValueStr(i)), wanted[j]
				if row == 1 {
					got, want = fmt.Sprint(column.IsNull(i)), "true"
				}
				if got != want {
					err = errors.Join(err, fmt.Errorf("row %d, %s: %s, not %s", row, expressions[j], got, want))
				}
			}
			row++
		}
	}), err)
	return fmt.Sprintf("%d types", len(expressions)), errors.Join(err, want(row, 2))
}

// table reads the suite's values: an expression, and what it is to Go.
func table() (expressions, values []string, err error) {
	text, err := os.ReadFile("../types.tsv")
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		expressions, values = append(expressions, fields[0]), append(values, fields[2])
	}
	return expressions, values, err
}
