target "default" { secret = ["type=env,id=a,src=X", "type=file,id=b,src=X052.hcl", "type=env,id=c,env=Y,src=X052.hcl"] }
