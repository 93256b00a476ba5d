"""The dashboards of Grafana, and what makes their JSON. `python -m scripts.dashboards` writes it."""
