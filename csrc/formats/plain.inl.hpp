// The sum of rows that hold plain numbers, on the lanes of the including file.
//
// A float32 row is dim numbers, little-endian, not necessarily aligned. A tile of dimensions
// stays in registers over all tokens of the bag; each dimension gets its rows in token order.

template <size_t kVectors>
inline void add_float32_tile(const TableView& table, const uint32_t* ids, const float* weights,
                             size_t token_count, size_t first_dim, size_t dims, bool resume,
                             float* sum) noexcept {
    constexpr size_t kTileDims = kVectors * kLaneCount;
    constexpr size_t kTileBytes = kTileDims * sizeof(float);
    const size_t tile_dims = dims - first_dim < kTileDims ? dims - first_dim : kTileDims;
    const bool partial = tile_dims < kTileDims;
    alignas(64) float edge[kTileDims];
    if (partial && resume) memcpy(edge, sum + first_dim, tile_dims * sizeof(float));
    float* tile_sum = partial ? edge : sum + first_dim;

    Floats sums[kVectors];
    for (size_t v = 0; v < kVectors; ++v)
        sums[v] = resume ? load(tile_sum + v * kLaneCount) : broadcast(0.0f);

    const size_t offset = first_dim * sizeof(float);
    for (size_t t = 0; t < token_count; ++t) {
        if (t + kPrefetchTokens < token_count)
            prefetch(table.rows + ids[t + kPrefetchTokens] * table.row_bytes + offset, kTileBytes);
        const uint8_t* numbers = table.rows + ids[t] * table.row_bytes + offset;
        uint8_t copy[kTileBytes];
        if (partial && ids[t] >= table.overreadable_rows) {
            memset(copy, 0, sizeof copy);
            memcpy(copy, numbers, tile_dims * sizeof(float));
            numbers = copy;
        }
        for (size_t v = 0; v < kVectors; ++v) {
            Floats row = load_bytes(numbers + v * kLaneCount * sizeof(float));
            if (weights) row = mul(row, broadcast(weights[t]));
            sums[v] = add(sums[v], row);
        }
    }

    for (size_t v = 0; v < kVectors; ++v) store(tile_sum + v * kLaneCount, sums[v]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

void sum_float32(const TableView& table, const uint32_t* ids, const float* weights,
                 size_t token_count, size_t dims, bool resume, float* sum) noexcept {
    size_t dim = 0;
    for (; dims - dim >= kFloat32TileVectors * kLaneCount; dim += kFloat32TileVectors * kLaneCount)
        add_float32_tile<kFloat32TileVectors>(table, ids, weights, token_count, dim, dims, resume,
                                              sum);
    for (; dims - dim >= 4 * kLaneCount; dim += 4 * kLaneCount)
        add_float32_tile<4>(table, ids, weights, token_count, dim, dims, resume, sum);
    for (; dim < dims; dim += kLaneCount)
        add_float32_tile<1>(table, ids, weights, token_count, dim, dims, resume, sum);
}
