// Command go prints rows of a topic, read over Arrow Flight SQL:
//
//	go run . "SELECT * FROM orders LIMIT 10"
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"github.com/apache/arrow-adbc/go/adbc"
	"github.com/apache/arrow-adbc/go/adbc/driver/flightsql"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

func main() {
	query := "SELECT 42 AS answer"
	if len(os.Args) > 1 {
		query = os.Args[1]
	}
	if err := run(context.Background(), cmp.Or(os.Getenv("CHRONIK"), "localhost:6092"), query); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, address, query string) error {
	db, err := flightsql.NewDriver(memory.DefaultAllocator).NewDatabase(map[string]string{
		adbc.OptionKeyURI: "grpc://" + address,
		// latest, or available, or cold
		flightsql.OptionRPCCallHeaderPrefix + "x-chronik-freshness": "latest",
	})
	if err != nil {
		return err
	}
	defer db.Close()
	connection, err := db.Open(ctx)
	if err != nil {
		return err
	}
	defer connection.Close()
	statement, err := connection.NewStatement()
	if err != nil {
		return err
	}
	defer statement.Close()
	if err := statement.SetSqlQuery(query); err != nil {
		return err
	}
	rows, _, err := statement.ExecuteQuery(ctx)
	if err != nil {
		return err
	}
	defer rows.Release()
	for rows.Next() { // as they come: an answer may be larger than memory
		fmt.Println(rows.RecordBatch())
	}
	return rows.Err()
}
