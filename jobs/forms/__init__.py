"""Questionnaire exports: CSV files into `raw.form_responses`, from there into `canonical.form_responses`."""
