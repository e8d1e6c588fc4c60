target "default" { tags = ["hcl"] }
