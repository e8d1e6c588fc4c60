target "default" { policy = ["filename=a.rego"] }
