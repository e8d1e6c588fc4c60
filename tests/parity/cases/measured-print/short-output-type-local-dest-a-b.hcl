target "default" { output = ["\"type=local,dest=a,b\""] }
