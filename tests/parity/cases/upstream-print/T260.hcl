target "t" { secret = ["id=file,src=T260.hcl", "id=var,env=VAR"] }
