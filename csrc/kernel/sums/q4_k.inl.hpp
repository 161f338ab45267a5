// The sum of q4_k rows, on the lanes of the including file: see q4_k.hpp and superblocks.inl.hpp.
//
// A unit of 64 dimensions is two sub-blocks, in the low and the high nibbles of 32 bytes. Whether
// a sub-block's sixteen weights are computed and looked up, or each weight from its code, is up to
// the lanes (`Q4KLookup`): it depends on the instructions that look up a float in sixteen.

struct Q4K {
    using Block = Q4KBlock;
    using Unpacked = Q4KScales;

    static void unpack(const Block& block, size_t, Unpacked& unpacked) noexcept {
        unpacked = make_q4_k_scales(block);
    }

    template <bool kWeighted>
    static void add_unit(Floats* sums, const Block& block, const Unpacked& unpacked, size_t unit,
                         float token_weight) noexcept {
        constexpr size_t kVectors = Block::kSubBlockDims / kLaneCount;
        const Q4KCodes codes = load_q4_k_codes(block.codes + unit * Block::kSubBlockDims);
        const float* scale = unpacked.scales + 2 * unit;
        const float* minus_minimum = unpacked.minus_minima + 2 * unit;
        const auto low = make_q4_k_lookup<kWeighted>(scale[0], minus_minimum[0], token_weight);
        const auto high = make_q4_k_lookup<kWeighted>(scale[1], minus_minimum[1], token_weight);
        NIBBLEVEC_UNROLL
        for (size_t v = 0; v < kVectors; ++v) {
            sums[v] = add(sums[v], q4_k_weights<kWeighted>(low, codes, v, false));
            sums[kVectors + v] =
                add(sums[kVectors + v], q4_k_weights<kWeighted>(high, codes, v, true));
        }
    }
};
