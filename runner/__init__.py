"""run-pipeline: small, frequent, incremental warehouse loads without a scheduler service."""
