"""The data type of each HL7v2 field: what the engine chooses shapes by, and what lint checks paths against.

Long because it is a table.
Facts of the standard: HL7 v2.5.1, with the fields and segments that versions 2.7 and 2.8.2 added (as tabulated by
hl7apy 1.3.5, MIT licence), OBX-27 to OBX-33 of 2.9, and the French Z segments of IHE PAM France 2.11. `*` marks a field that may repeat,
`-` a number never used. Long because it is a table.
"""

from __future__ import annotations

FIELD_TYPES: dict[str, str] = {
    "ABS": "XCN CE CE TS XCN CE TS XCN CE ID CE NM CE ID",
    "ACC": "TS CE ST CE ID ID XCN ST ST ID XAD NM EI*",
    "ADD": "ST",
    "ADJ": "EI EI SI CWE CP* CQ CWE* ST NM NM CWE EI EI DTM XON",
    "AFF": "SI XON XAD DR* ST",
    "AIG": "SI ID CE CE CE* NM CE TS NM CE NM CE IS CE",
    "AIL": "SI ID PL* CE CE TS NM CE NM CE IS CE",
    "AIP": "SI ID XCN* CE CE TS NM CE NM CE IS CE",
    "AIS": "SI ID CE TS NM CE NM CE IS CE CE* CE*",
    "AL1": "SI CE CE CE ST* DT",
    "APR": "SCV* SCV* SCV* NM SCV*",
    "ARQ": (
        "EI EI NM EI CE CE CE CE NM CE DR* ST RI ST XCN* XTN* XAD* PL XCN* XTN* PL EI EI EI* EI*"
    ),
    "ARV": "SI CNE CWE CWE* ST* DR",
    "AUT": (
        "CE CE ST TS TS EI CP NM NM TS CWE* CWE* CWE* CWE* DTM* CWE* ST* CQ* CQ* CQ* CWE* "
        "MO* XON* XCN* ST* DTM* XTN* ST* ID*"
    ),
    "BHS": "ST ST HD HD HD HD TS ST ST ST ST ST HD HD",
    "BLC": "CE CQ",
    "BLG": "CCD ID CX CWE",
    "BPO": "SI CWE CWE* NM NM CE TS PL XAD TS PL XAD CWE* ID",
    "BPX": "SI CWE ID TS EI CNE CNE CWE XON EI CNE CNE* TS NM NM CE EI PL XAD XCN XCN",
    "BTS": "ST ST NM*",
    "BTX": "SI EI CNE CNE CWE XON EI NM NM CE CWE ID TS XCN XCN TS TS CWE* CWE EI",
    "BUI": "SI* EI* CWE* NM* CNE* NM* CNE* ST* ST* XON* NR* CNE*",
    "CDM": "CE CE* ST ST IS CE* CE* ID CE* NM CX* XON* ID",
    "CDO": "SI ID CQ CQ",
    "CER": (
        "SI ST ST XON XCN ED ID CWE CWE CWE CWE ID ST CWE* CWE CWE ID CWE* ID CWE CWE CWE* "
        "TS TS TS TS TS TS TS CE CWE"
    ),
    "CM0": "SI EI EI* ST XCN* DT NM DT XCN* XTN XAD*",
    "CM1": "SI CE ST",
    "CM2": "SI CE ST CE*",
    "CNS": "NM NM TS TS CE CE",
    "CON": (
        "SI CWE ST EI FT* FT* FT* FT* FT* CNE CNE TS TS TS TS ID ID ID ID CWE ID CWE CWE XPN* IS*"
    ),
    "CSP": "CE TS TS CE",
    "CSR": "EI EI CE CX CX TS XCN* XCN* TS CE TS* CE* CE* CE TS CE",
    "CSS": "CE TS CE*",
    "CTD": "CE* XPN* XAD* PL XTN* CE PLN*",
    "CTI": "EI CE CE",
    "DB1": "SI IS CX* ID DT DT DT DT",
    "DG1": "SI ID CE ST TS IS CE CE ID IS CE NM CP ST ID XCN* IS ID TS EI ID EI CWE ID CWE CWE",
    "DMI": "CNE CNE NR NM NM",
    "DON": (
        "EI* CNE* DTM* DTM* NM* CNE* CNE* CNE* ID* CNE* DTM* CNE* CNE* CNE* ID* XPN* DTM* "
        "XON* DTM* XPN* CNE* CNE* XPN* XPN* ST* ST* ID* XPN* DTM* NM* EI* XCN* XCN*"
    ),
    "DPS": "CWE CWE* DTM DTM CNE",
    "DRG": (
        "CE TS ID IS CE NM CP IS CP ID IS XPN CWE CWE NM MO CWE ST ST CWE MO MO MO MO NM "
        "CWE CWE CWE CWE CWE CWE CWE CWE"
    ),
    "DSC": "ST ID",
    "DSP": "SI SI TX ST TX",
    "ECD": "NM CE ID TQ TX*",
    "ECR": "CE TS TX*",
    "EDU": "SI IS DR DR DT XON CE XAD CWE*",
    "EQL": "ST ID CE ST",
    "EQP": "CE ST TS TS FT",
    "EQU": "EI TS CE CE CE",
    "ERQ": "ST CE QIP*",
    "ERR": "ELD* ERL* CWE ID CWE ST* TX TX IS* CWE CWE* XTN*",
    "EVN": "ID TS TS IS XCN* TS HD",
    "FAC": "EI ID XAD* XTN XCN* ST* XAD* XTN* XCN* ST XAD* XTN",
    "FHS": "ST ST HD HD HD HD TS ST ST ST ST ST HD HD",
    "FT1": (
        "SI ST ST DR TS IS CE ST ST NM CP CP CE CE CP PL IS IS CE* XCN* XCN* CP EI XCN* CE "
        "CE* CE CWE CNE CX SI* XON* XON CWE ST CWE* CWE CX CX CWE CWE ST CQ"
    ),
    "FTS": "NM ST",
    "GOL": "ID TS CE EI EI NM TS TS CE CE CE TS TS TS TQ CE ST* CE TS CE* XPN* CNE",
    "GP1": "IS IS* IS IS* CP",
    "GP2": "IS NM CP IS IS IS* CE IS* IS IS CP IS CP NM",
    "GT1": (
        "SI CX* XPN* XPN* XAD* XTN* XTN* TS IS IS CE ST DT DT NM XPN* XAD* XTN* CX* IS XON* "
        "ID CE TS ID CE CP NM CX* CE DT DT IS IS* CE* CE IS CE ID IS CE XPN* CE CE* XPN* "
        "XTN* CE IS ST JCC XON* IS IS FC CE* ST IS"
    ),
    "IAM": (
        "SI CE CE CE ST* CNE EI ST CE CE DT ST TS XPN CE CE CE XCN XON TS XCN DTM XCN DTM "
        "XCN DTM CWE XON XON XON"
    ),
    "IAR": "CWE CWE CWE ST",
    "IIM": "CWE CWE ST TS CWE CWE TS NM CWE MO TS NM CWE CE CE*",
    "ILT": "SI ST DTM DTM NM CWE MO DTM NM CWE",
    "IN1": (
        "SI CE CX* XON* XAD* XPN* XTN* ST XON* CX* XON* DT DT AUI IS XPN* CE TS XAD* IS IS "
        "ST ID DT ID DT IS ST TS XCN* IS IS NM NM IS ST CP CP NM CP CP CE IS XAD* ST IS IS "
        "IS CX* IS DT ST IS CX* ID"
    ),
    "IN2": (
        "CX* ST XCN* IS IS* ST XPN* ST XPN* ST CE ST ST IS IS IS DT ID ID ID ST XPN* ST IS* "
        "CX* CX* IS RMC* PTA* DDI IS IS* CE* CE IS CE ID IS CE XPN* CE CE* CE* DT DT ST JCC "
        "IS XPN* XTN* IS XPN* XTN* IS* DT DT* IS XTN IS IS CX CE XTN* XTN* CE ID ID ID XON* "
        "XON* CE* CE"
    ),
    "IN3": (
        "SI CX XCN* ID MOP TS TS XCN* DT DT DTN CE TS XCN* ST XTN* CE CE XTN* ICD* ST DT IS "
        "IS* XCN* CWE CWE"
    ),
    "INV": "CE CE* CE CE CE CE NM NM NM NM CE TS TS TQ CE* ST CE CE CQ CQ",
    "IPC": "EI EI EI EI CE CE* EI CE* ST",
    "IPR": "EI EI EI CWE DTM CP DTM ST",
    "ISD": "NM CE CE",
    "ITM": (
        "EI ST CWE CWE CWE CNE EI ST ST CWE CNE CWE CP CNE CWE XON* CNE CWE* CWE NM MO CNE "
        "CNE CNE EI CNE CNE CNE* CWE CNE CNE EI CWE"
    ),
    "IVC": (
        "EI EI EI CWE CWE CWE DTM CP ST XON XON XCN ID DTM ST CP CP CP XCN CX CP CP CP NM* "
        "CWE ST ST CWE CWE ST"
    ),
    "IVT": (
        "SI EI ST EI ST CWE EI* CWE CWE EI CNE CWE CP CWE CNE CNE CNE CP EI* EI CWE NM NM NM NM CNE"
    ),
    "LAN": "SI CE CE* CE",
    "LCC": "PL CE CE* CE*",
    "LCH": "PL ID EI CE CE",
    "LDP": "PL CE IS* CE* IS* ID TS TS ST VH* XTN CE",
    "LOC": "PL ST IS* XON* XAD* XTN* CE* IS* IS",
    "LRL": "PL ID EI CE XON* PL",
    "MCP": "SI CWE MO MO ST",
    "MFA": "ID ST TS CE varies* ID*",
    "MFE": "ID ST TS varies* ID* DTM XCN",
    "MFI": "CE HD ID TS TS ID",
    "MRG": "CX* CX* CX CX CX CX XPN*",
    "MSA": "ID ST ST NM - CE NM ID",
    "MSH": "ST ST HD HD HD HD TS ST MSG ST PT VID NM ST ID ID ID ID* CE ID EI* XON XON HD HD",
    "NCK": "TS",
    "NDS": "NM TS CE CE",
    "NK1": (
        "SI XPN* CE XAD* XTN* XTN* CE DT DT ST JCC CX XON* CE IS TS IS* IS* CE* CE IS CE ID "
        "IS CE XPN* CE CE* CE* XPN* XTN* XAD* CX* IS CE* IS ST ST IS XTN XTN"
    ),
    "NPU": "PL IS",
    "NSC": "IS ST ST HD HD ST ST HD HD",
    "NST": "ID ST ID TS TS NM NM NM NM NM NM NM NM NM NM",
    "NTE": "SI ID FT* CE XCN DTM DTM DTM",
    "OBR": (
        "SI EI EI CE ID TS TS TS CQ XCN* ID CE ST TS SPS XCN* XTN* ST ST ST ST TS MOC ID ID "
        "PRL TQ* XCN* EIP ID CE* NDL NDL* NDL* NDL* TS NM CE* CE* CE ID ID CE* CE CE* CE* "
        "CE* CWE IS CWE EI EI CX* EIP"
    ),
    "OBX": (
        "SI ID CE ST varies* CE ST IS* NM ID* ID TS ST TS CE XCN* CE* EI* TS CWE* EI CNE XON* "
        "XAD* XCN* ID* CWE CWE* ID ID ID CWE* EIP*"
    ),
    "ODS": "ID CE* CE* ST*",
    "ODT": "CE CE* ST",
    "OM1": (
        "NM CE ID* ID CE TX CE ST* ST ST ST ID CE* CE* ID CE* XTN IS CE ST TS TS NM NM ID* "
        "ID CE* XAD* XTN CWE CE TX CE CE* TX CE TX CE TX ST* TX CE CE TX CE CE CE ID ID CWE "
        "ST* CWE* TX* TX CWE* CWE CQ CWE* NR*"
    ),
    "OM2": "NM CE NM* CE TX RFR* RFR* RFR DLT* NM",
    "OM3": "NM CE CE CE* CE* CE* ID",
    "OM4": "NM ID TX NM CE CE CWE TX TX CQ CQ TX ID* CQ CWE* ID NM CWE*",
    "OM5": "NM CE* ST",
    "OM6": "NM TX",
    "OM7": "NM CE CE* TX ST* TS TS NM CE IS ID CE TS TS NM CE NM CE TS XCN PL* IS ID CE*",
    "OMC": "NM ID EI CWE CWE* CWE ID ST varies ID CWE* NM NM",
    "ORC": (
        "ID EI EI EI ID ID TQ* EIP TS XCN* XCN* XCN* PL XTN* TS CE CE CE XCN* CE XON* XAD* "
        "XTN* XAD* CWE CWE TS CWE CWE CNE CWE DT CX* CWE*"
    ),
    "ORG": "SI CE CE ID CX CE CE CE DR CE ID ID CWE*",
    "OVR": "CWE CWE TX XCN XCN",
    "PAC": "SI* EI* EI* NA* CWE* CWE* CWE* CWE*",
    "PCE": "SI CX CWE CP",
    "PCR": "CE IS CE CQ TS TS TS TS IS CE IS ST* IS CE CE CE ID TS ID ID ID* ID* ID*",
    "PD1": "IS* IS XON* XCN* IS IS IS IS ID CX* CE ID DT XON* CE* IS DT DT IS IS IS DT",
    "PDA": "CE* PL ID TS XCN ID DR XCN ID",
    "PDC": "XON* CE ST ST CE ST* ST ST* CE ID ST CQ CQ TS TS",
    "PEO": (
        "CE* CE* TS TS TS TS XAD* ID* ID ID ID* ID FT* FT* FT* FT* FT* CE* XPN* XAD* XTN* "
        "ID ID TS ID"
    ),
    "PES": "XON* XCN* XAD* XTN* EI NM FT* FT TS TS ID* ID ID*",
    "PID": (
        "SI CX CX* CX* XPN* XPN* TS IS XPN* CE* XAD* IS XTN* XTN* CE CE CE CX ST DLN CX* "
        "CE* ST ID NM CE* CE CE TS ID ID IS* TS HD CE CE ST CE CWE* XTN*"
    ),
    "PKG": "SI CWE CNE NM CP CP DTM CWE",
    "PM1": ("CWE CX* XON* XAD* XPN* XTN* ST XON* DT DT ID ID ID ID ID ID ID ID ID ID ID ID ST ST"),
    "PMT": "EI DTM DTM CWE DTM CP EI XON ST CX XON ST",
    "PR1": (
        "SI IS CE ST TS IS NM XCN* IS NM XCN* XCN* CE ID CE CE* IS CE* EI ID CWE CWE PL* ID EI"
    ),
    "PRA": "CE CE* IS* ID SPD* PLN* PIP* DT CE DT CE* SI",
    "PRB": (
        "ID TS CE EI EI NM TS TS TS CE CE* CE CE CE TS TS ST CE CE NM CE CE CE ST CE CWE CWE CNE"
    ),
    "PRC": "CE CE* CE* IS* CP* ST* NM NM MO MO TS TS IS CE* ID ID MO IS",
    "PRD": "CE* XPN* XAD* PL XTN* CE PLN* TS TS XON* XAD* PL* XTN* CWE*",
    "PRT": (
        "EI* ID CWE CWE XCN* CWE CWE XON* PL* EI* DTM DTM CWE XAD* XTN* EI DTM DTM ST ST EI CNE"
    ),
    "PSG": "EI EI SI ID CP ST",
    "PSH": "ST ST TS TS TS CQ CQ ID FT CQ ID FT NM* NM*",
    "PSL": (
        "EI EI SI EI EI CWE CWE CWE* ST DTM DTM CQ CP NM CP CP CWE* ST* EI* CWE* ID CWE CP "
        "NM CX DR NM NM XCN XCN CWE CWE CWE NM CP NM NM CP NM CP NM NM CP CP NM ID ID ST"
    ),
    "PSS": "EI EI SI CP ST",
    "PTH": "ID CE EI TS CE TS CNE",
    "PV1": (
        "SI IS PL IS CX PL XCN* XCN* XCN* IS PL IS IS IS IS* IS XCN* IS CX FC* IS IS IS IS* "
        "DT* NM* NM* IS IS DT IS NM NM IS DT IS DLD CE IS IS IS PL PL TS TS* NM NM NM NM CX "
        "IS XCN* ST CX"
    ),
    "PV2": (
        "PL CE CE CE ST* ST IS* TS TS NM NM ST XCN* DT ID IS DT IS ID NM IS ID XON* IS IS "
        "DT IS DT DT CE IS ID TS ID ID ID ID CE CE* CE CE* CE IS IS CE* DT TS TS IS* DT"
    ),
    "PYE": "SI CWE CWE XON* XPN* XAD* CWE",
    "QAK": "ST ID CE NM NM NM",
    "QID": "ST CE",
    "QPD": "CE ST varies",
    "QRD": "TS ID ID ST ID TS CQ XCN* CE* CE* VR* ID",
    "QRF": "ST* TS TS ST* ST* ID* ID* ID* TQ NM",
    "QRI": "NM IS* CE",
    "RCP": "ID CQ CE TS ID SRT* ID*",
    "RDF": "NM RCD*",
    "RDT": "varies",
    "REL": "SI CWE EI EI EI EI XCN XON XAD XTN DR ID CWE NM NM ID",
    "RF1": (
        "CE CE CE CE* CE EI TS TS TS CE* EI* CWE DTM* ST* CQ* CQ* CQ* MO* XON* XCN* ST* "
        "DTM* XTN* ST* ID*"
    ),
    "RFI": "DTM DTM ID DTM",
    "RGS": "SI ID CE",
    "RMI": "CE TS CE",
    "ROL": "EI ID CE XCN* TS TS CE CE CE* CE XAD* XTN* PL XON",
    "RQ1": "ST CE ST CE ST ID ID",
    "RQD": "SI CE CE CE NM CE IS IS CE DT",
    "RXA": (
        "NM NM TS TS CE NM CE CE CE* XCN* LA2 ST NM CE ST* TS* CE* CE* CE* ID ID TS NM CWE "
        "CWE ID PL XAD EI*"
    ),
    "RXC": "ID CE NM CE NM CE CE* NM CWE NM CWE",
    "RXD": (
        "NM CE TS NM CE CE ST NM ST* XCN* ID CQ LA2 ID CE* NM CE ST* TS* CE* CE* NM CE ID "
        "CE* CE CE NM CWE CWE XAD ID CWE XTN* EI*"
    ),
    "RXE": (
        "TQ CE NM NM CE CE CE* LA1 ID NM CE NM XCN* XCN* ST NM NM TS CQ ID CE* ST ST CE NM "
        "CE CE* NM CE ID CE* TS NM CWE CWE ID CWE* CWE NM CWE XAD PL XAD ID XTN*"
    ),
    "RXG": (
        "NM NM TQ CE NM NM CE CE CE* ID LA2 ID CE* ST ST CE NM CE ST* TS* CE* CE* NM CWE "
        "CWE ID CWE XAD PL XAD EI* NM CWE"
    ),
    "RXO": (
        "CE NM NM CE CE CE* CE* LA1 ID CE NM CE NM XCN* XCN* ID ST NM CE CE* ST CE CQ CE* "
        "NM CWE ID NM EI EI CNE CWE XAD PL XAD XTN*"
    ),
    "RXR": "CE CWE CE CWE CE CWE",
    "RXV": "SI ID NM CWE NM CWE ID NM CWE NM CWE NM CWE NM CWE CQ CQ CWE CWE NM CWE ID",
    "SAC": (
        "EI EI EI EI EI SPS TS CE CE EI NA CE EI NA CE* NM NM NM NM CE NM NM NM CE CE CE "
        "CWE* CE SN CE SN NM CE NM CE NM CE NM CE CE* CE* CE CWE* CE*"
    ),
    "SCD": (
        "TM NM CQ CQ NM CQ CQ CQ CQ CWE DTM CQ CQ CQ CQ TM CQ CQ CNE CNE CNE CNE CNE CNE "
        "XCN CNE CNE CWE CQ CQ CQ CNE CX* XCN SN CQ CQ"
    ),
    "SCH": (
        "EI EI NM EI CE CE CE CE NM CE TQ* XCN* XTN XAD* PL XCN* XTN XAD* PL XCN* XTN* PL "
        "EI EI CE EI* EI*"
    ),
    "SCP": "NM CWE CWE EI ST ST CWE CWE",
    "SDD": "EI EI ST CWE CWE NM ST",
    "SFT": "XON ST ST ST TX TS",
    "SGH": "SI ST",
    "SGT": "SI ST",
    "SHP": "EI* EI* CWE* DTM* TX* CWE* CWE* NM* CWE* CWE* CWE*",
    "SID": "CE ST ST CE",
    "SLT": "EI ST EI EI ST",
    "SPM": (
        "SI EIP EIP* CWE CWE* CWE* CWE CWE CWE* CWE CWE* CQ NM ST* CWE* CWE* DR TS TS ID "
        "CWE* CWE CWE CWE* CQ NM CWE CWE CWE CX* CX* EI*"
    ),
    "SPR": "ST ID CE QIP*",
    "STF": (
        "CE CX* XPN* IS* IS TS ID CE* CE* XTN* XAD* DIN* DIN* CE* ST* CE CE ST JCC CE ID "
        "DLN ID DT DT DT CE CE ID CE* TS ID CWE DR DT CWE* ID CWE CWE* CWE ED"
    ),
    "STZ": "CWE CWE CWE CWE",
    "TCC": "CE EI SPS SN SN SN SN NM ID ID ID SN CE CE CWE",
    "TCD": "CE SN SN SN SN ID ID CE",
    "TQ1": "SI CQ RPT* TM* CQ* CQ TS TS CWE* TX TX ID CQ NM",
    "TQ2": "SI ID EI* EI* EI* ID ID CQ NM ID",
    "TXA": (
        "SI IS ID TS XCN* TS TS TS* XCN* XCN* XCN* EI EI EI* EI ST ID ID ID ID ST PPN* XCN* "
        "CWE* ST* DTM"
    ),
    "UAC": "CWE ED",
    "UB1": "SI NM NM NM NM NM IS* NM NM UVC* NM CE CE DT DT OCD* CE DT DT ST ST ST ST",
    "UB2": "SI ST IS* ST ST UVC* OCD* OSP* ST* ST* ST ST* ST* ST* ST ST* NM",
    "URD": "TS ID XCN* CE* CE* ST* ID",
    "URS": "ST* TS TS ST* ST* ID* ID* ID* TQ",
    "VAR": "EI TS TS XCN* CE ST*",
    "VND": "SI EI ST EI CNE",
    "VTQ": "ST ID CE CE QSC*",
    "ZBE": "EI* DTM DTM ID ID ID XON XON CWE",
    "ZFA": "ID DTM DTM ID ID ID ID ID ID DTM ID DTM",
    "ZFD": "NA NM ID ID ID DTM ID DT",
    "ZFM": "IS IS IS IS",
    "ZFP": "IS IS",
    "ZFS": "SI EI TS TS ID CWE CNE FT",
    "ZFV": "DLD CE IS TS TS XAD* CX CX* IS",
}

COMPONENTS: dict[str, int] = {
    "AD": 8,
    "AUI": 3,
    "CCD": 2,
    "CCP": 3,
    "CD": 6,
    "CE": 6,
    "CF": 22,
    "CNE": 22,
    "CNN": 11,
    "CP": 6,
    "CQ": 2,
    "CQ_SIMPLE": 2,
    "CSU": 23,
    "CWE": 22,
    "CX": 12,
    "DDI": 3,
    "DIN": 2,
    "DLD": 2,
    "DLN": 3,
    "DLT": 4,
    "DR": 2,
    "DR_SIMPLE": 2,
    "DTN": 2,
    "ED": 5,
    "EI": 4,
    "EIP": 2,
    "ELD": 4,
    "ERL": 6,
    "FC": 2,
    "FN": 5,
    "HD": 3,
    "ICD": 3,
    "JCC": 3,
    "LA1": 9,
    "LA2": 16,
    "MA": 6,
    "MO": 2,
    "MOC": 2,
    "MOP": 3,
    "MSG": 3,
    "NA": 4,
    "NDL": 11,
    "NR": 2,
    "OCD": 2,
    "OG": 4,
    "OSD": 11,
    "OSP": 3,
    "PIP": 5,
    "PL": 11,
    "PLN": 4,
    "PPN": 26,
    "PRL": 3,
    "PT": 2,
    "PTA": 4,
    "QIP": 2,
    "QSC": 4,
    "RCD": 3,
    "RFR": 7,
    "RI": 2,
    "RMC": 4,
    "RP": 4,
    "RPT": 11,
    "SAD": 3,
    "SCV": 2,
    "SN": 4,
    "SPD": 4,
    "SPS": 7,
    "SRT": 2,
    "TQ": 12,
    "TS": 2,
    "UVC": 4,
    "VH": 4,
    "VID": 3,
    "VR": 2,
    "WVI": 2,
    "WVS": 2,
    "XAD": 23,
    "XCN": 25,
    "XON": 10,
    "XPN": 15,
    "XTN": 18,
}
"""How many components a data type has; one that is not listed has one."""
