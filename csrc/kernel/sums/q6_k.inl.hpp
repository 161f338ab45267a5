// The sum of q6_k rows, on the lanes of the including file: see q6_k.hpp and superblocks.inl.hpp.
//
// A unit of 64 dimensions is half of a half: the low nibbles of its 64 bytes, or the high ones. The
// lanes put its codes together as bytes, code - 32, in the order of the dimensions; from there on
// they are a row of int8, with a scale for each sixteen.

struct Q6K {
    using Block = Q6KBlock;
    struct Unpacked {
        Q6KScales scales;
        alignas(64) uint8_t codes[Block::kDims];
    };

    static void unpack(const Block& block, size_t unit_count, Unpacked& unpacked) noexcept {
        unpacked.scales = make_q6_k_scales(block);
        for (size_t unit = 0; unit < unit_count; ++unit)
            unpack_q6_k_unit(block.low[unit / 2], block.high[unit / 2], unit % 2 != 0,
                             unpacked.codes + unit * kSuperblockUnitDims);
    }

    template <bool kWeighted>
    static void add_unit(Floats* sums, const Block&, const Unpacked& unpacked, size_t unit,
                         float token_weight) noexcept {
        const uint8_t* codes = unpacked.codes + unit * kSuperblockUnitDims;
        const float* scales =
            unpacked.scales.scales + unit * (kSuperblockUnitDims / Block::kSubBlockDims);
        NIBBLEVEC_UNROLL
        for (size_t v = 0; v < kSuperblockUnitVectors; ++v) {
            const Floats code = load_int8(codes + v * kLaneCount);
            const Floats scale = broadcast(scales[v * kLaneCount / Block::kSubBlockDims]);
            if (kWeighted)
                sums[v] = add(sums[v], mul(mul(code, scale), broadcast(token_weight)));
            else
                sums[v] = add_exact_product(sums[v], code, scale);
        }
    }
};
