// The reference of docs/benchmarks: hnswlib on what TestFigures wrote. Its headers
// are from https://github.com/nmslib/hnswlib; they are not part of this repository.
//
//   g++ -O3 -march=native -I hnswlib -o ref hnswlib.cpp && ./ref DIR DIMENSIONS
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>
#include <vector>

#include "hnswlib/hnswlib.h"

static double cpu() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
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

int main(int, char** argv) {
  std::string dir = argv[1];
  size_t d = atoi(argv[2]);
  auto vectors = read<float>(dir + "/vectors"), queries = read<float>(dir + "/queries");
  auto truth = read<unsigned>(dir + "/truth");
  size_t n = vectors.size() / d, asked = queries.size() / d;
  hnswlib::InnerProductSpace space(d);
  hnswlib::HierarchicalNSW<float> index(&space, n, 16, 200);
  double begun = cpu();
  for (size_t i = 0; i < n; i++) index.addPoint(&vectors[i * d], i);
  printf("built %zu x %zu: %.1f s of processor time, %.0f us a vector\n", n, d, cpu() - begun, (cpu() - begun) * 1e6 / n);
  for (int ef : {10, 20, 30, 50, 80, 120, 200, 300}) {
    index.setEf(ef);
    size_t found = 0;
    begun = cpu();
    std::vector<std::priority_queue<std::pair<float, hnswlib::labeltype>>> all;
    for (size_t i = 0; i < asked; i++) all.push_back(index.searchKnn(&queries[i * d], 10));
    double took = cpu() - begun;
    for (size_t i = 0; i < asked; i++) {
      std::set<unsigned> want(&truth[i * 10], &truth[i * 10 + 10]);
      for (; !all[i].empty(); all[i].pop()) found += want.count(all[i].top().second);
    }
    printf("ef %d: recall %.4f, %.0f queries per second of processor time\n", ef, double(found) / (10 * asked), asked / took);
  }
}
