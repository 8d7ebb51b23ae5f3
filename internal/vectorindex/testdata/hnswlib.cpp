// The reference of docs/benchmarks: hnswlib on what TestBesideAReference wrote. Its
// headers are from https://github.com/nmslib/hnswlib; they are not part of this
// repository.
//
//   g++ -O3 -march=native -I hnswlib -o ref hnswlib.cpp
//   ref DIR DIMENSIONS ip|l2 M EF_CONSTRUCTION K:EF,EF,… K:EF,EF,… …
//
// It prints "build SECONDS BYTES", where bytes are what the process has grown by,
// and "search K EF RECALL QUERIES_PER_SECOND", all in processor time, of two passes
// the faster.
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "hnswlib/hnswlib.h"

static double cpu() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static long resident() {
  long size = 0, pages = 0;
  FILE* f = fopen("/proc/self/statm", "r");
  if (fscanf(f, "%ld %ld", &size, &pages) != 2) exit(1);
  fclose(f);
  return pages * sysconf(_SC_PAGESIZE);
}

template <typename T>
static std::vector<T> read(const std::string& name) {
  FILE* f = fopen(name.c_str(), "rb");
  fseek(f, 0, SEEK_END);
  std::vector<T> v(ftell(f) / sizeof(T));
  rewind(f);
  if (fread(v.data(), sizeof(T), v.size(), f) != v.size()) exit(1);
  fclose(f);
  return v;
}

int main(int argc, char** argv) {
  std::string dir = argv[1];
  size_t d = atoi(argv[2]), m = atoi(argv[4]), construction = atoi(argv[5]);
  auto vectors = read<float>(dir + "/vectors"), queries = read<float>(dir + "/queries");
  auto truth = read<unsigned>(dir + "/truth");
  size_t n = vectors.size() / d, asked = queries.size() / d, known = truth.size() / asked;
  std::unique_ptr<hnswlib::SpaceInterface<float>> space;
  if (strcmp(argv[3], "l2") == 0)
    space.reset(new hnswlib::L2Space(d));
  else
    space.reset(new hnswlib::InnerProductSpace(d));
  long before = resident();
  double begun = cpu();
  hnswlib::HierarchicalNSW<float> index(space.get(), n, m, construction);
  for (size_t i = 0; i < n; i++) index.addPoint(&vectors[i * d], i);
  printf("build %f %ld\n", cpu() - begun, resident() - before);
  for (int a = 6; a < argc; a++) {
    char* rest;
    size_t k = strtol(argv[a], &rest, 10);
    while (*rest) {
      size_t ef = strtol(rest + 1, &rest, 10);
      index.setEf(ef);
      double least = 1e9;
      size_t found = 0;
      for (int pass = 0; pass < 2; pass++) {
        std::vector<std::priority_queue<std::pair<float, hnswlib::labeltype>>> all;
        begun = cpu();
        for (size_t i = 0; i < asked; i++) all.push_back(index.searchKnn(&queries[i * d], k));
        least = std::min(least, cpu() - begun);
        found = 0;
        for (size_t i = 0; i < asked; i++) {
          std::unordered_set<unsigned> want(&truth[i * known], &truth[i * known + k]);
          for (; !all[i].empty(); all[i].pop()) found += want.count(all[i].top().second);
        }
      }
      printf("search %zu %zu %f %f\n", k, ef, double(found) / (k * asked), asked / least);
    }
  }
}
