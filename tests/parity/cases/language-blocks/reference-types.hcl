target "b" {
 tags=[1,true]
 args={A=1,B=true}
 pull="1"
}
target "default" {
  args = {
    v = jsonencode([target.b.tags,target.b.args,target.b.pull])
  }
}
