//go:build !nosql

package engine

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	bindings "github.com/duckdb/duckdb-go-bindings"
)

// Describe tells what a query answers, and which parameters it has. The query
// is run, so that values of parameters have their say in the types: it is to be
// one that has no rows. Parameters without a value are null.
func (e *Engine) Describe(ctx context.Context, q Query) (*Description, error) {
	r, err := e.rows(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var d *Description
	err = r.do(func() (err error) {
		d, err = r.description(q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (r *Rows) description(q Query) (*Description, error) {
	if err := r.prepare(q); err != nil {
		return nil, err
	}
	count := int(bindings.NParams(r.prepared))
	types, names := make([]bindings.LogicalType, count), make([]string, count)
	for i := range types {
		types[i], names[i] = r.parameterType(i+1), fmt.Sprintf("$%d", i+1)
		defer bindings.DestroyLogicalType(&types[i])
	}
	values := q.Parameters
	if len(values) == 0 {
		values = make([]any, count)
	}
	if err := r.execute(values); err != nil {
		return nil, err
	}
	parameters, err := arrowSchema(r.options, types, names)
	if err != nil {
		return nil, err
	}
	d := &Description{Schema: r.schema, Parameters: make([]arrow.DataType, count)}
	for i := range d.Parameters {
		d.Parameters[i] = parameters.Field(i).Type
	}
	return d, nil
}

// parameterType is what the query makes of a parameter; text where it takes any
// type.
func (r *Rows) parameterType(number int) bindings.LogicalType {
	switch bindings.ParamType(r.prepared, bindings.IdxT(number)) {
	case bindings.TypeInvalid, bindings.TypeAny, bindings.TypeSQLNull:
		return bindings.CreateLogicalType(bindings.TypeVarchar)
	}
	return bindings.ParamLogicalType(r.prepared, bindings.IdxT(number))
}
