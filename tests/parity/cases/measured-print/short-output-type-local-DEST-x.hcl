target "default" { output = ["type=local,DEST=x"] }
