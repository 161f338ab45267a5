// The sum of sse_q4 rows, on the lanes of the including file.
//
// A row's sixteen weights (`Q4Weights`) are computed first and each code selects one. A per-token
// weight multiplies the sixteen instead of the `dim`.
//
// The order is: chunks of tokens, then tiles of dimensions, then tokens, so that a tile's sums
// stay in registers for a whole chunk while each dimension still gets its rows in token order.
// Where sixteen weights are one multiplication (`kQ4KeepsWeights` is false) each tile makes them
// again, and the whole bag is one chunk. Elsewhere a chunk keeps them: its rows and its weights fit
// the first-level cache together.

constexpr size_t kQ4ChunkTokens = kQ4KeepsWeights ? 64 : SIZE_MAX;
constexpr size_t kQ4UnitDims = 2 * kQ4UnitBytes;

inline Q4Weights q4_weights_of(const TableView& table, const Tokens& tokens, size_t t) noexcept {
    float scale;
    memcpy(&scale, table.scales + tokens.ids[t] * sizeof scale, sizeof scale);
    return make_q4_weights(scale, tokens.weights ? tokens.weights + t : nullptr);
}

// Adds one chunk of tokens to `kUnits` units of dimensions that start at `first_dim`.
template <size_t kUnits>
inline void add_q4_tile(const TableView& table, const Tokens& tokens, const Q4Weights* weights,
                        size_t first_dim, size_t dims, bool resume, float* sum) noexcept {
    constexpr size_t kTileDims = kUnits * kQ4UnitDims;
    const size_t tile_dims = dims - first_dim < kTileDims ? dims - first_dim : kTileDims;
    const bool partial = tile_dims < kTileDims;
    alignas(64) float edge[kTileDims];
    if (partial && resume) memcpy(edge, sum + first_dim, tile_dims * sizeof(float));
    float* tile_sum = partial ? edge : sum + first_dim;

    Q4Unit units[kUnits];
    NIBBLEVEC_UNROLL
    for (size_t u = 0; u < kUnits; ++u)
        units[u] = resume ? load_q4_unit(tile_sum + u * kQ4UnitDims) : zero_q4_unit();

    const size_t offset = first_dim / 2;
    const uint8_t* rows = table.rows + offset;
    const uint32_t* ids = tokens.ids;
    const size_t known_ids = tokens.count + tokens.ids_beyond;
    for (size_t t = 0; t < tokens.count; ++t) {
        if (t + kPrefetchTokens < known_ids) {
            const size_t id = ids[t + kPrefetchTokens];
            prefetch(rows + id * table.row_bytes, kUnits * kQ4UnitBytes);
            if (!kQ4KeepsWeights) prefetch(table.scales + id * sizeof(float), sizeof(float));
        }
        const uint8_t* codes = rows + ids[t] * table.row_bytes;
        uint8_t copy[kUnits * kQ4UnitBytes + kMaxOverreadBytes];
        if (ids[t] >= table.overreadable_rows) {
            const size_t left = table.row_bytes - offset;
            memset(copy, 0, sizeof copy);
            memcpy(copy, codes, left < sizeof copy ? left : sizeof copy);
            codes = copy;
        }
        Q4Lookup lookup;
        if (kQ4KeepsWeights)
            lookup = load_q4_lookup(weights[t]);
        else
            lookup = load_q4_lookup(q4_weights_of(table, tokens, t));
        NIBBLEVEC_UNROLL
        for (size_t u = 0; u < kUnits; ++u) add_q4_unit(units[u], codes + u * kQ4UnitBytes, lookup);
    }

    NIBBLEVEC_UNROLL
    for (size_t u = 0; u < kUnits; ++u) store_q4_unit(tile_sum + u * kQ4UnitDims, units[u]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

void sum_sse_q4(const TableView& table, const Tokens& tokens, size_t dims, bool resume,
                float* sum) noexcept {
    if (tokens.count == 0 && !resume) memset(sum, 0, dims * sizeof(float));
    Q4Weights weights[kQ4KeepsWeights ? kQ4ChunkTokens : 1];
    for (size_t begin = 0; begin < tokens.count;) {
        const size_t left = tokens.count - begin;
        Tokens chunk = tokens;
        chunk.ids += begin;
        if (chunk.weights) chunk.weights += begin;
        chunk.count = left < kQ4ChunkTokens ? left : kQ4ChunkTokens;
        chunk.ids_beyond += left - chunk.count;
        if (kQ4KeepsWeights)
            for (size_t t = 0; t < chunk.count; ++t) weights[t] = q4_weights_of(table, chunk, t);
        for (size_t dim = 0; dim < dims;) {
            if (dims - dim > kQ4UnitDims) {
                add_q4_tile<kQ4TileUnits>(table, chunk, weights, dim, dims, resume, sum);
                dim += kQ4TileUnits * kQ4UnitDims;
            } else {
                add_q4_tile<1>(table, chunk, weights, dim, dims, resume, sum);
                dim += kQ4UnitDims;
            }
        }
        begin += chunk.count;
        resume = true;
    }
}
