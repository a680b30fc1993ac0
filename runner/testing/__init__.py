"""What tests of pipelines and of embedding applications need: stand-ins that keep the contracts."""
