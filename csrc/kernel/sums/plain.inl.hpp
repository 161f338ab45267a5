// The sum of rows that hold plain numbers, on the lanes of the including file.
//
// A row is dim numbers, little-endian, not necessarily aligned. float16, bfloat16 and int8 become
// float32 as they are read, which is exact. A tile of dimensions stays in registers over all tokens
// of the bag; each dimension gets its rows in token order.

struct Float32Numbers {
    static constexpr size_t kBytes = 4;
    static Floats load(const uint8_t* bytes) noexcept { return load_float32(bytes); }
};
struct Float16Numbers {
    static constexpr size_t kBytes = 2;
    static Floats load(const uint8_t* bytes) noexcept { return load_float16(bytes); }
};
struct BFloat16Numbers {
    static constexpr size_t kBytes = 2;
    static Floats load(const uint8_t* bytes) noexcept { return load_bfloat16(bytes); }
};
struct Int8Numbers {
    static constexpr size_t kBytes = 1;
    static Floats load(const uint8_t* bytes) noexcept { return load_int8(bytes); }
};

// Only the smallest tile may reach beyond the row.
template <class Numbers, size_t kVectors, bool kWeighted>
inline void add_plain_tile(const TableView& table, const Tokens& tokens, size_t first_dim,
                           size_t dims, bool resume, float* sum) noexcept {
    constexpr size_t kTileDims = kVectors * kLaneCount;
    constexpr size_t kTileBytes = kTileDims * Numbers::kBytes;
    const size_t tile_dims = dims - first_dim < kTileDims ? dims - first_dim : kTileDims;
    const bool partial = kVectors == 1 && tile_dims < kTileDims;
    alignas(64) float edge[kTileDims];
    if (partial && resume) memcpy(edge, sum + first_dim, tile_dims * sizeof(float));
    float* tile_sum = partial ? edge : sum + first_dim;

    Floats sums[kVectors];
    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v)
        sums[v] = resume ? load(tile_sum + v * kLaneCount) : broadcast(0.0f);

    const uint32_t* ids = tokens.ids;
    const size_t known_ids = tokens.count + tokens.ids_beyond;
    const uint8_t* rows = table.rows + first_dim * Numbers::kBytes;
    for (size_t t = 0; t < tokens.count; ++t) {
        if (t + kPrefetchTokens < known_ids)
            prefetch(rows + ids[t + kPrefetchTokens] * table.row_bytes, kTileBytes);
        const uint8_t* numbers = rows + ids[t] * table.row_bytes;
        uint8_t copy[kTileBytes];
        if (partial && ids[t] >= table.overreadable_rows) {
            memset(copy, 0, sizeof copy);
            memcpy(copy, numbers, tile_dims * Numbers::kBytes);
            numbers = copy;
        }
        Floats weight = broadcast(1.0f);
        if (kWeighted) weight = broadcast(tokens.weights[t]);
        NIBBLEVEC_UNROLL
        for (size_t v = 0; v < kVectors; ++v) {
            Floats row = Numbers::load(numbers + v * kLaneCount * Numbers::kBytes);
            if (kWeighted) row = mul(row, weight);
            sums[v] = add(sums[v], row);
        }
    }

    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v) store(tile_sum + v * kLaneCount, sums[v]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

template <class Numbers, bool kWeighted>
inline void sum_plain_tiles(const TableView& table, const Tokens& tokens, size_t dims, bool resume,
                            float* sum) noexcept {
    constexpr size_t kLargest = kPlainTileVectors;
    size_t dim = 0;
    for (; dims - dim >= kLargest * kLaneCount; dim += kLargest * kLaneCount)
        add_plain_tile<Numbers, kLargest, kWeighted>(table, tokens, dim, dims, resume, sum);
    for (; dims - dim >= 4 * kLaneCount; dim += 4 * kLaneCount)
        add_plain_tile<Numbers, 4, kWeighted>(table, tokens, dim, dims, resume, sum);
    for (; dim < dims; dim += kLaneCount)
        add_plain_tile<Numbers, 1, kWeighted>(table, tokens, dim, dims, resume, sum);
}

template <class Numbers>
void sum_plain(const TableView& table, const Tokens& tokens, size_t dims, bool resume,
               float* sum) noexcept {
    if (tokens.weights)
        sum_plain_tiles<Numbers, true>(table, tokens, dims, resume, sum);
    else
        sum_plain_tiles<Numbers, false>(table, tokens, dims, resume, sum);
}
