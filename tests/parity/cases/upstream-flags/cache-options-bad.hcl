target "default" { cache-from = ["test=test"] }
