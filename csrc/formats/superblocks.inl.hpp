// The sum of rows that are made of superblocks, on the lanes of the including file.
//
// A superblock has its own scales, unpacked to float32 once for each of its tokens. The order is:
// chunks of tokens, then superblocks, then tiles of their dimensions, then tokens, so that a tile's
// sums stay in registers for a whole chunk while each dimension still gets its rows in token order.
// Of a chunk, the blocks at one place of all rows and their scales fit the first-level cache.
//
// `Format` tells:
//     Block     the bytes of a superblock
//     Scales    what is unpacked of it
//     unpack    the one from the other
//     add_unit  adds 64 dimensions of a block, number `unit` of it, to sums in the order of the
//               dimensions; if `kWeighted`, each decoded weight times `token_weight`

constexpr size_t kSuperblockChunkTokens = 64;
constexpr size_t kSuperblockUnitDims = 64;
constexpr size_t kSuperblockUnitVectors = kSuperblockUnitDims / kLaneCount;

// Adds one chunk of tokens to `kUnits` units of dimensions from `first_dim` on, all of one block.
template <class Format, size_t kUnits, bool kWeighted>
inline void add_superblock_tile(const TableView& table, const Tokens& tokens,
                                const typename Format::Scales* scales, size_t first_dim,
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
    for (size_t t = 0; t < tokens.count; ++t) {
        const auto* block =
            reinterpret_cast<const Block*>(blocks + tokens.ids[t] * table.row_bytes);
        const float token_weight = kWeighted ? tokens.weights[t] : 1.0f;
        NIBBLEVEC_UNROLL
        for (size_t u = 0; u < kUnits; ++u)
            Format::template add_unit<kWeighted>(sums + u * kSuperblockUnitVectors, *block,
                                                 scales[t], first_unit + u, token_weight);
    }

    NIBBLEVEC_UNROLL
    for (size_t v = 0; v < kVectors; ++v) store(tile_sum + v * kLaneCount, sums[v]);
    if (partial) memcpy(sum + first_dim, edge, tile_dims * sizeof(float));
}

template <class Format, bool kWeighted>
inline void sum_superblock_chunks(const TableView& table, const Tokens& tokens, size_t dims,
                                  bool resume, float* sum) noexcept {
    using Block = typename Format::Block;
    if (tokens.count == 0 && !resume) memset(sum, 0, dims * sizeof(float));
    typename Format::Scales scales[kSuperblockChunkTokens];
    for (size_t begin = 0; begin < tokens.count; begin += kSuperblockChunkTokens) {
        const size_t left = tokens.count - begin;
        Tokens chunk = tokens;
        chunk.ids += begin;
        if (kWeighted) chunk.weights += begin;
        chunk.count = left < kSuperblockChunkTokens ? left : kSuperblockChunkTokens;
        const size_t known_ids = left + tokens.ids_beyond;
        for (size_t dim = 0; dim < dims;) {
            if (dim % Block::kDims == 0) {
                const uint8_t* blocks = table.rows + dim / Block::kDims * sizeof(Block);
                for (size_t t = 0; t < chunk.count; ++t) {
                    if (t + kPrefetchTokens < known_ids)
                        prefetch(blocks + chunk.ids[t + kPrefetchTokens] * table.row_bytes,
                                 sizeof(Block));
                    scales[t] = Format::unpack(
                        *reinterpret_cast<const Block*>(blocks + chunk.ids[t] * table.row_bytes));
                }
            }
            constexpr size_t kTileDims = kSuperblockTileUnits * kSuperblockUnitDims;
            if (dims - dim > kTileDims - kSuperblockUnitDims) {
                add_superblock_tile<Format, kSuperblockTileUnits, kWeighted>(
                    table, chunk, scales, dim, dims, resume, sum);
                dim += kTileDims;
            } else {
                add_superblock_tile<Format, 1, kWeighted>(table, chunk, scales, dim, dims, resume,
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
