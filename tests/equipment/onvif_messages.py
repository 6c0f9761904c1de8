"""The bodies of a camera's ONVIF answers (device and media service, version 1.0), as the ONVIF schemas order their elements."""

from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import quote
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

SOAP = "http://www.w3.org/2003/05/soap-envelope"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
SCHEMA = "http://www.onvif.org/ver10/schema"
ERROR = "http://www.onvif.org/ver10/error"


@dataclass(frozen=True, slots=True)
class Profile:
    """One stream as GetProfiles describes it. lens: what its video source is called besides, in a camera of several."""

    token: str
    codec: str
    width: int
    height: int
    fps: int
    gop: int
    bits_per_s: int
    lens: str = ""


@dataclass(frozen=True, slots=True)
class Osd:
    """A text that the camera would burn into its picture."""

    token: str
    text: str
    position: str = "UpperLeft"


def envelope(body: str) -> bytes:
    names = f'xmlns:env="{SOAP}" xmlns:tds="{DEVICE}" xmlns:trt="{MEDIA}" xmlns:tt="{SCHEMA}" xmlns:ter="{ERROR}"'
    text = f'<?xml version="1.0" encoding="UTF-8"?><env:Envelope {names}><env:Body>{body}</env:Body></env:Envelope>'
    return text.encode()


def fault(subcode: str, reason: str) -> bytes:
    """A SOAP 1.2 fault of the sender with an ONVIF subcode."""
    code = (
        f"<env:Code><env:Value>env:Sender</env:Value><env:Subcode><env:Value>ter:{subcode}</env:Value></env:Subcode></env:Code>"
    )
    return envelope(f'<env:Fault>{code}<env:Reason><env:Text xml:lang="en">{escape(reason)}</env:Text></env:Reason></env:Fault>')


def system_date_and_time(now: datetime) -> str:
    def moment(tag: str) -> str:
        time = f"<tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute><tt:Second>{now.second}</tt:Second>"
        date = f"<tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month><tt:Day>{now.day}</tt:Day>"
        return f"<tt:{tag}><tt:Time>{time}</tt:Time><tt:Date>{date}</tt:Date></tt:{tag}>"

    inner = "<tt:DateTimeType>Manual</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
    inner += "<tt:TimeZone><tt:TZ>UTC0</tt:TZ></tt:TimeZone>"
    inner += moment("UTCDateTime") + moment("LocalDateTime")
    inner = f"<tds:SystemDateAndTime>{inner}</tds:SystemDateAndTime>"
    return f"<tds:GetSystemDateAndTimeResponse>{inner}</tds:GetSystemDateAndTimeResponse>"


def device_information(name: str, serial: str, firmware: str = "1.0.4") -> str:
    fields = {
        "Manufacturer": "Loopback Optics",
        "Model": f"LO-2 {name}",
        "FirmwareVersion": firmware,
        "SerialNumber": serial,
        "HardwareId": "LO-2",
    }
    inner = "".join(f"<tds:{key}>{escape(value)}</tds:{key}>" for key, value in fields.items())
    return f"<tds:GetDeviceInformationResponse>{inner}</tds:GetDeviceInformationResponse>"


def endpoint_reference(endpoint: str) -> str:
    return f"<tds:GetEndpointReferenceResponse><tds:GUID>{endpoint}</tds:GUID></tds:GetEndpointReferenceResponse>"


def network_interfaces(mac: str) -> str:
    inner = f"<tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name><tt:HwAddress>{mac}</tt:HwAddress></tt:Info>"
    inner = f'<tds:NetworkInterfaces token="eth0">{inner}</tds:NetworkInterfaces>'
    return f"<tds:GetNetworkInterfacesResponse>{inner}</tds:GetNetworkInterfacesResponse>"


def capabilities(base: str) -> str:
    streaming = "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP><tt:RTP_RTSP_TCP>true</tt:RTP_RTSP_TCP>"
    inner = f"<tt:Device><tt:XAddr>{base}/onvif/device_service</tt:XAddr></tt:Device>"
    inner += f"<tt:Media><tt:XAddr>{base}/onvif/media_service</tt:XAddr>"
    inner += f"<tt:StreamingCapabilities>{streaming}</tt:StreamingCapabilities></tt:Media>"
    return f"<tds:GetCapabilitiesResponse><tds:Capabilities>{inner}</tds:Capabilities></tds:GetCapabilitiesResponse>"


def services(base: str) -> str:
    version = "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version>"
    inner = "".join(
        f"<tds:Service><tds:Namespace>{space}</tds:Namespace><tds:XAddr>{base}/onvif/{path}</tds:XAddr>{version}</tds:Service>"
        for space, path in ((DEVICE, "device_service"), (MEDIA, "media_service"))
    )
    return f"<tds:GetServicesResponse>{inner}</tds:GetServicesResponse>"


def scopes(name: str) -> str:
    items = ("type/video_encoder", "Profile/Streaming", f"name/{name}", "hardware/LO-2")
    inner = "".join(
        f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef><tt:ScopeItem>onvif://www.onvif.org/{item}</tt:ScopeItem></tds:Scopes>"
        for item in items
    )
    return f"<tds:GetScopesResponse>{inner}</tds:GetScopesResponse>"


def _profile(tag: str, profile: Profile, source: Profile) -> str:
    bounds = f'<tt:Bounds x="0" y="0" width="{source.width}" height="{source.height}"/>'
    video = f'<tt:VideoSourceConfiguration token="source{profile.lens}"><tt:Name>source</tt:Name><tt:UseCount>2</tt:UseCount>'
    video += f"<tt:SourceToken>sensor{profile.lens}</tt:SourceToken>{bounds}</tt:VideoSourceConfiguration>"
    rate = f"<tt:FrameRateLimit>{profile.fps}</tt:FrameRateLimit><tt:EncodingInterval>1</tt:EncodingInterval>"
    rate += f"<tt:BitrateLimit>{profile.bits_per_s // 1000}</tt:BitrateLimit>"
    encoder = f'<tt:VideoEncoderConfiguration token="encoder-{profile.token}">'
    encoder += f"<tt:Name>{profile.token}</tt:Name><tt:UseCount>1</tt:UseCount><tt:Encoding>{profile.codec.upper()}</tt:Encoding>"
    encoder += f"<tt:Resolution><tt:Width>{profile.width}</tt:Width><tt:Height>{profile.height}</tt:Height></tt:Resolution>"
    encoder += f"<tt:Quality>5</tt:Quality><tt:RateControl>{rate}</tt:RateControl>"
    if profile.codec == "h264":
        encoder += f"<tt:H264><tt:GovLength>{profile.gop}</tt:GovLength><tt:H264Profile>High</tt:H264Profile></tt:H264>"
    encoder += "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type><tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address>"
    encoder += "<tt:Port>0</tt:Port><tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
    encoder += "<tt:SessionTimeout>PT60S</tt:SessionTimeout></tt:VideoEncoderConfiguration>"
    return f'<trt:{tag} token="{profile.token}" fixed="true"><tt:Name>{profile.token}</tt:Name>{video}{encoder}</trt:{tag}>'


def profiles(all_of_them: tuple[Profile, ...]) -> str:
    inner = "".join(_profile("Profiles", profile, all_of_them[0]) for profile in all_of_them)
    return f"<trt:GetProfilesResponse>{inner}</trt:GetProfilesResponse>"


def one_profile(profile: Profile, source: Profile) -> str:
    return f"<trt:GetProfileResponse>{_profile('Profile', profile, source)}</trt:GetProfileResponse>"


def media_uri(operation: str, uri: str) -> str:
    """The answer to GetStreamUri or GetSnapshotUri."""
    inner = f"<tt:Uri>{escape(uri)}</tt:Uri><tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
    inner += "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot><tt:Timeout>PT0S</tt:Timeout>"
    return f"<trt:{operation}Response><trt:MediaUri>{inner}</trt:MediaUri></trt:{operation}Response>"


def osds(all_of_them: list[Osd]) -> str:
    inner = "".join(
        f'<trt:OSDs token="{osd.token}"><tt:VideoSourceConfigurationToken>source</tt:VideoSourceConfigurationToken>'
        f"<tt:Type>Text</tt:Type><tt:Position><tt:Type>{osd.position}</tt:Type></tt:Position>"
        f"<tt:TextString><tt:Type>Plain</tt:Type><tt:PlainText>{escape(osd.text)}</tt:PlainText></tt:TextString></trt:OSDs>"
        for osd in all_of_them
    )
    return f"<trt:GetOSDsResponse>{inner}</trt:GetOSDsResponse>"


def read_osd(request: ET.Element) -> Osd:
    """What SetOSD or CreateOSD asks for."""
    osd = Osd(token="", text="")
    node = request.find(f"{{{MEDIA}}}OSD")
    if node is not None:
        text = node.findtext(f".//{{{SCHEMA}}}PlainText", "")
        position = node.findtext(f"{{{SCHEMA}}}Position/{{{SCHEMA}}}Type", osd.position)
        osd = replace(osd, token=node.get("token", ""), text=text, position=position)
    return osd


def probe_match(relates_to: str, endpoint: str, name: str, address: str) -> bytes:
    """A WS-Discovery answer. endpoint: urn:uuid:…; name: for the scopes; address: of the device service."""
    wsa, wsd = "http://schemas.xmlsoap.org/ws/2004/08/addressing", "http://schemas.xmlsoap.org/ws/2005/04/discovery"
    header = f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo><a:Action>{wsd}/ProbeMatches</a:Action>"
    header += f"<a:To>{wsa}/role/anonymous</a:To>"
    match = f"<a:EndpointReference><a:Address>{endpoint}</a:Address></a:EndpointReference>"
    match += "<d:Types>dn:NetworkVideoTransmitter</d:Types>"
    scope = "onvif://www.onvif.org/"
    match += f"<d:Scopes>{scope}Profile/Streaming {scope}name/{quote(name)} {scope}hardware/LO-2</d:Scopes>"
    match += f"<d:XAddrs>{address}</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion>"
    names = f'xmlns:e="{SOAP}" xmlns:a="{wsa}" xmlns:d="{wsd}" xmlns:dn="http://www.onvif.org/ver10/network/wsdl"'
    body = f"<d:ProbeMatches><d:ProbeMatch>{match}</d:ProbeMatch></d:ProbeMatches>"
    return f"<e:Envelope {names}><e:Header>{header}</e:Header><e:Body>{body}</e:Body></e:Envelope>".encode()
