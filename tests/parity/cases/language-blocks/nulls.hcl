target "default" {
 tags=null
 args=null
 context=null
 dockerfile=null
 pull=null
 platforms=null
 inherits=null
 call=null
 extra-hosts=null
 entitlements=null
 labels=null
 contexts=null
}
