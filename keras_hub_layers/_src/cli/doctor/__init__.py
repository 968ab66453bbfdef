"""keras-hub-layers doctor: the installation, or the road of one handle."""
