target "default" { ulimits = ["nofile=x"] }
