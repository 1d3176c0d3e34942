"""What several papers on post-training share: sampled responses."""
