"""Videos with texts: retrieval, question answering, pre-training."""
