"""What tests, benchmarks and the demo share: throwaway servers, real ones, that end with the block they are used in.

    from causal_otel.testing.servers import bolt, postgres, valkey

The servers come with the extra ``demo``.
"""
