"""Drives Elasticsearch's client for Python, with its own helpers. Each check is one
line of JSON on standard output."""

import datetime
import json
import os
import traceback

import elasticsearch
from elasticsearch import Elasticsearch, helpers
from elasticsearch.helpers import BulkIndexError

es = Elasticsearch("http://" + os.environ["SEARCH_ADDRESS"], request_timeout=60, max_retries=0)
INDEX = "py-logs"
TOTAL = 1000
BEGAN = datetime.datetime(2026, 11, 1, tzinfo=datetime.timezone.utc)
DOCUMENTS = [
    {
        "n": n,
        "title": f"chapter {n}: of {'whales' if n % 5 == 0 else 'ships'} and men",
        "author": ["Melville", "Conrad"][n % 2],
        "pages": 10 + n % 50,
        "read": n % 3 == 0,
        "at": (BEGAN + datetime.timedelta(minutes=n)).isoformat(),
    }
    for n in range(TOTAL)
]


def check(name):
    def run(test):
        result = {"client": "elasticsearch-py", "version": elasticsearch.__versionstr__, "check": name, "ok": True, "detail": ""}
        try:
            result["detail"] = str(test() or "")
        except Exception as e:
            result["ok"] = False
            result["detail"] = json.dumps(e.body, default=str) if isinstance(e, elasticsearch.ApiError) else traceback.format_exc()
        print(json.dumps(result), flush=True)

    return run


def refused(error, status, kind, call):
    try:
        call()
    except error as e:
        assert e.status_code == status, e
        if kind:
            assert e.body["error"]["type"] == kind, e.body
        return e
    raise AssertionError("it was not refused")


@check("the server says what it is")
def _():
    info = es.info()
    assert info["tagline"] == "You Know, for Search"
    assert info.meta.headers["x-elastic-product"] == "Elasticsearch"
    assert es.ping()
    return info["version"]["number"]


@check("an index is created with a mapping")
def _():
    made = es.indices.create(index=INDEX, mappings={"properties": {
        "title": {"type": "text", "analyzer": "english"}, "author": {"type": "keyword"}, "at": {"type": "date"}}})
    assert made["acknowledged"]
    assert es.indices.exists(index=INDEX)
    refused(elasticsearch.BadRequestError, 400, "resource_already_exists_exception", lambda: es.indices.create(index=INDEX))


@check("helpers.bulk writes all documents")
def _():
    written, failed = helpers.bulk(es, ({"_index": INDEX, "_source": d} for d in DOCUMENTS[:600]), chunk_size=130)
    assert (written, failed) == (600, []), (written, failed)
    outcomes = list(helpers.streaming_bulk(es, ({"_index": INDEX, **d} for d in DOCUMENTS[600:]), chunk_size=100))
    assert len(outcomes) == 400 and all(ok for ok, _ in outcomes)
    assert outcomes[0][1]["index"]["result"] == "created"
    assert es.count(index=INDEX)["count"] == TOTAL


@check("helpers.bulk says what was refused")
def _():
    try:
        helpers.bulk(es, [{"_index": INDEX, "_op_type": "delete", "_id": f"{INDEX}-0-1"}])
    except BulkIndexError as e:
        assert e.errors[0]["delete"]["status"] == 405, e.errors
        return e.errors[0]["delete"]["error"]["reason"]
    raise AssertionError("it was not refused")


@check("texts are found by the language's rules")
def _():
    found = es.search(index=INDEX, query={"match": {"title": "whale"}}, size=0, track_total_hits=True)
    assert found["hits"]["total"] == {"value": 200, "relation": "eq"}, found
    found = es.search(index=INDEX, q="title:whaling AND author:Melville", size=0)
    assert found["hits"]["total"]["value"] == 100, found


@check("queries find what they say")
def _():
    for query, holds in [
        ({"term": {"author": "Conrad"}}, lambda d: d["author"] == "Conrad"),
        ({"term": {"read": True}}, lambda d: d["read"]),
        ({"range": {"pages": {"gt": 20, "lte": 30}}}, lambda d: 20 < d["pages"] <= 30),
        ({"range": {"at": {"gte": "2026-11-01||+2h", "lt": "2026-11-01T03:00"}}}, lambda d: d["n"] // 60 == 2),
        ({"bool": {"filter": [{"term": {"author": "Melville"}}], "must_not": [{"term": {"read": False}}]}}, lambda d: d["author"] == "Melville" and d["read"]),
        ({"match_phrase_prefix": {"title": "chapter 99"}}, lambda d: str(d["n"]).startswith("99")),
        ({"constant_score": {"filter": {"terms": {"pages": [10, 59]}}}}, lambda d: d["pages"] in (10, 59)),
        ({"dis_max": {"queries": [{"term": {"pages": 11}}, {"term": {"pages": 12}}]}}, lambda d: d["pages"] in (11, 12)),
    ]:
        found = es.search(index=INDEX, query=query, size=TOTAL, source_includes=["n"])
        got = sorted(h["_source"]["n"] for h in found["hits"]["hits"])
        assert got == [d["n"] for d in DOCUMENTS if holds(d)], (query, len(got))


@check("paging by search_after shows everything once")
def _():
    seen, after = [], None
    while True:
        page = es.search(index=INDEX, size=90, sort=[{"pages": "desc"}, {"at": "asc"}], search_after=after)
        if not page["hits"]["hits"]:
            break
        seen += [h["_source"]["n"] for h in page["hits"]["hits"]]
        after = page["hits"]["hits"][-1]["sort"]
    assert seen == [d["n"] for d in sorted(DOCUMENTS, key=lambda d: (-d["pages"], d["n"]))]
    return f"{len(seen)} hits"


@check("aggregations, with types in their names")
def _():
    answer = es.options(headers={}).search(index=INDEX, size=0, aggregations={
        "authors": {"terms": {"field": "author", "order": {"pages": "desc"}}, "aggs": {"pages": {"sum": {"field": "pages"}}}},
        "days": {"date_histogram": {"field": "at", "fixed_interval": "6h", "min_doc_count": 1}},
        "long": {"range": {"field": "pages", "ranges": [{"to": 20}, {"from": 20}]}},
        "of whales": {"filter": {"match": {"title": "whales"}}, "aggs": {"most": {"max": {"field": "pages"}}}},
        "every ten": {"histogram": {"field": "pages", "interval": 10}},
        "both": {"filters": {"filters": {"read": {"term": {"read": True}}, "unread": {"term": {"read": False}}}}},
    })
    a = answer["aggregations"]
    sums = {w: sum(d["pages"] for d in DOCUMENTS if d["author"] == w) for w in ("Melville", "Conrad")}
    assert [(b["key"], b["pages"]["value"]) for b in a["authors"]["buckets"]] == sorted(sums.items(), key=lambda x: -x[1]), a["authors"]
    assert [b["doc_count"] for b in a["days"]["buckets"]] == [360, 360, 280]
    assert [b["doc_count"] for b in a["long"]["buckets"]] == [200, 800]
    assert a["of whales"]["doc_count"] == 200 and a["of whales"]["most"]["value"] == 55
    assert [b["doc_count"] for b in a["every ten"]["buckets"]] == [200] * 5
    assert a["both"]["buckets"]["read"]["doc_count"] == 334
    typed = es.search(index=INDEX, size=0, typed_keys=True, aggregations={"authors": {"terms": {"field": "author"}}})
    assert "sterms#authors" in typed["aggregations"]


@check("several searches in one request")
def _():
    answers = es.msearch(searches=[
        {"index": INDEX}, {"query": {"term": {"author": "Conrad"}}, "size": 1},
        {"index": "py-nowhere"}, {"query": {"match_all": {}}},
        {"index": "py-*"}, {"query": {"match_all": {}}, "size": 0},
    ])["responses"]
    assert answers[0]["hits"]["total"]["value"] == 500
    assert answers[1]["status"] == 404 and answers[1]["error"]["type"] == "index_not_found_exception"
    assert answers[2]["hits"]["total"]["value"] == TOTAL


@check("a document is read by its id")
def _():
    written = es.index(index=INDEX, document={"title": "appendix"}, refresh=True)
    got = es.get(index=INDEX, id=written["_id"])
    assert got["found"] and got["_source"]["title"] == "appendix"
    assert es.exists(index=INDEX, id=written["_id"])
    refused(elasticsearch.NotFoundError, 404, None, lambda: es.get(index=INDEX, id=f"{INDEX}-0-9999999"))
    refused(elasticsearch.ApiError, 405, None, lambda: es.delete(index=INDEX, id=written["_id"]))


@check("errors are those that the client knows")
def _():
    refused(elasticsearch.NotFoundError, 404, "index_not_found_exception", lambda: es.search(index="py-nowhere"))
    e = refused(elasticsearch.BadRequestError, 400, None, lambda: es.search(index=INDEX, query={"nested": {"path": "x", "query": {}}}))
    assert "nested" in json.dumps(e.body)
    refused(elasticsearch.BadRequestError, 400, None, lambda: es.search(index=INDEX, from_=9_999, size=10))


@check("indexes are listed, described and deleted")
def _():
    row = es.cat.indices(index=INDEX, format="json")[0]
    assert row["docs.count"] == str(TOTAL + 1), row
    assert es.cat.indices(index=INDEX, v=True).body.startswith("health")
    assert es.indices.get_mapping(index=INDEX)[INDEX]["mappings"]["properties"]["author"]["type"] == "keyword"
    assert es.cluster.health()["status"] != "red"
    assert es.indices.delete(index=INDEX)["acknowledged"]
    assert not es.indices.exists(index=INDEX)
