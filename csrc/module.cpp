#include <pybind11/pybind11.h>

#include <bit>

#include "bind_arrow.hpp"
#include "bind_encoder.hpp"
#include "bind_quantize.hpp"
#include "bind_table.hpp"
#include "bind_tokenizer.hpp"

static_assert(std::endian::native == std::endian::little,
              "tables are read in their own bytes, which are little-endian");

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
    nibblevec::bind_table(module);
    nibblevec::bind_quantize(module);
    nibblevec::bind_tokenizer(module);
    nibblevec::bind_arrow(module);
    nibblevec::bind_encoder(module);
}
