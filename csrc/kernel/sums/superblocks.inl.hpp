// The sum of rows that are made of superblocks, on the lanes of the including file.
//
// The order is: chunks of tokens, then superblocks, then tiles of their dimensions, then tokens. So
// a superblock is unpacked once for all of its tiles, and a tile's sums stay in registers for a
// whole chunk, while each dimension still gets its rows in token order. Unpacking touches all rows
// of a chunk at once, too fast for memory; so the sums of a chunk, which take longer, prefetch the
// rows of the next. Both chunks and the unpacked blocks fit the first-level cache.
//
// `Format` has:
//     Block     the bytes of a superblock
//     Unpacked  its scales and codes, prepared
//     unpack    prepares the first `unit_count` units of 64 dimensions
//     add_unit  adds 64 dimensions of a block, number `unit` of it, to sums in the order of the
//               dimensions; if `kWeighted`, each decoded weight times `token_weight`

constexpr size_t kSuperblockChunkTokens = 32;
constexpr size_t kSuperblockUnitDims = 64;
constexpr size_t kSuperblockUnitVectors = kSuperblockUnitDims / kLaneCount;

// Adds one chunk of tokens to `kUnits` units of dimensions from `first_dim` on, all of one block.
template <class Format, size_t kUnits, bool kWeighted>
inline void add_superblock_tile(const TableView& table, const Tokens& tokens,
                                const typename Format::Unpacked* unpacked, size_t first_dim,
                                size_t dims, bool resume, float* sum) noexcept {
    using Block = typename Format::Block;
    constexpr size_t kTileDims = kUnits * kSuperblockUnitDims;
    constexpr size_t kVectors = kUnits * kSuperblockUnitVectors;
    const size_t tile_dims = dims - first_dim < kTileDims ? dims - first_dim : kTileDims;
    const bool partial = tile_dims < kTileDims;
    alignas(64) float edge[kTileDims];
    if (partial && resume) memcpy(edge, sum + first_dim, tile_dims * sizeof(float));
    float* tile_sum = partial ? edge : sum + first_dim;

    Floats sums[kVectors];
    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v)
        sums[v] = resume ? load(tile_sum + v * kLaneCount) : broadcast(0.0f);

    const uint8_t* blocks = table.rows + first_dim / Block::kDims * sizeof(Block);
    const size_t first_unit = first_dim % Block::kDims / kSuperblockUnitDims;
    const size_t known_ids = tokens.count + tokens.ids_beyond;
    for (size_t t = 0; t < tokens.count; ++t) {
        const auto* block =
            reinterpret_cast<const Block*>(blocks + tokens.ids[t] * table.row_bytes);
        if (first_unit == 0 && t + kSuperblockChunkTokens < known_ids)
            prefetch(blocks + tokens.ids[t + kSuperblockChunkTokens] * table.row_bytes,
                     sizeof(Block));
        const float token_weight = kWeighted ? tokens.weights[t] : 1.0f;
        NIBBLEVEC_UNROLL
        for (size_t u = 0; u < kUnits; ++u)
            Format::template add_unit<kWeighted>(sums + u * kSuperblockUnitVectors, *block,
                                                 unpacked[t], first_unit + u, token_weight);
    }

    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v) store(tile_sum + v * kLaneCount, sums[v]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

template <class Format, bool kWeighted>
inline void sum_superblock_chunks(const TableView& table, const Tokens& tokens, size_t dims,
                                  bool resume, float* sum) noexcept {
    using Block = typename Format::Block;
    constexpr size_t kBlockUnits = Block::kDims / kSuperblockUnitDims;
    if (tokens.count == 0 && !resume) memset(sum, 0, dims * sizeof(float));
    typename Format::Unpacked unpacked[kSuperblockChunkTokens];
    for (size_t begin = 0; begin < tokens.count; begin += kSuperblockChunkTokens) {
        const size_t left = tokens.count - begin;
        Tokens chunk = tokens;
        chunk.ids += begin;
        if (kWeighted) chunk.weights += begin;
        chunk.count = left < kSuperblockChunkTokens ? left : kSuperblockChunkTokens;
        chunk.ids_beyond += left - chunk.count;
        for (size_t dim = 0; dim < dims;) {
            if (dim % Block::kDims == 0) {
                const uint8_t* blocks = table.rows + dim / Block::kDims * sizeof(Block);
                const size_t units = (dims - dim + kSuperblockUnitDims - 1) / kSuperblockUnitDims;
                const size_t unit_count = units < kBlockUnits ? units : kBlockUnits;
                for (size_t t = 0; t < chunk.count; ++t) {
                    const uint8_t* block = blocks + chunk.ids[t] * table.row_bytes;
                    Format::unpack(*reinterpret_cast<const Block*>(block), unit_count, unpacked[t]);
                }
            }
            constexpr size_t kTileDims = kSuperblockTileUnits * kSuperblockUnitDims;
            if (dims - dim > kTileDims - kSuperblockUnitDims) {
                add_superblock_tile<Format, kSuperblockTileUnits, kWeighted>(
                    table, chunk, unpacked, dim, dims, resume, sum);
                dim += kTileDims;
            } else {
                add_superblock_tile<Format, 1, kWeighted>(table, chunk, unpacked, dim, dims, resume,
                                                          sum);
                dim += kSuperblockUnitDims;
            }
        }
        resume = true;
    }
}

template <class Format>
void sum_superblocks(const TableView& table, const Tokens& tokens, size_t dims, bool resume,
                     float* sum) noexcept {
    if (tokens.weights)
        sum_superblock_chunks<Format, true>(table, tokens, dims, resume, sum);
    else
        sum_superblock_chunks<Format, false>(table, tokens, dims, resume, sum);
}
