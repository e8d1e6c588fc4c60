target "default" { output = ["TYPE=image"] }
